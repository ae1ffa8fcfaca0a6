"""From a training checkpoint to what a model repository on the Hugging Face Hub holds."""
