"""The sub-commands of ``kdna-zoo``, as its help lists them; torch is not imported to print it."""

TRAINING = {
    "fit": "train a network by a recipe",
    "validate": "evaluate a network on the validation split",
    "test": "evaluate a network on the test split",
    "predict": "write a network's predictions to a file",
}  # LightningCLI's, with its options and help
COMMANDS = {
    "quickstart": "train, publish and load a network again, in three minutes",
    "models": "list the networks and what sharing saves",
    "info": "show a network's sharing plan, parameters and multiply-adds",
    "bench": "measure networks side by side: throughput, latency, memory; or loaders",
    "cka": "show which layers are alike (linear CKA), and suggest a sharing plan by it",
    "convert": "turn a trained network into a KernelDNA network that computes nearly the same",
    "recipes": "list the recipes, or copy one into your folder",
    "compare": "compare the accuracy of networks over seeds",
    "report": "write one HTML page of benchmarks, accuracies and CKA grids",
    "export": "write a network as ONNX, torch.export or safetensors",
    "publish": "write a checkpoint as a folder that timm loads, or put it on the Hub",
    "verify": "check published weights against the manifest",
    "classify": "say what is in pictures",
}  # each is a module of this folder, with add_parser and run
SYNONYMS = {
    "train": "fit",
    "finetune": "fit",
    "eval": "validate",
    "evaluate": "validate",
    "val": "validate",
    "infer": "predict",
    "list": "models",
    "show": "info",
    "benchmark": "bench",
    "push": "publish",
    "upload": "publish",
}  # what other tools call them
