"""What the name of a network stands for: an architecture, or weights.

``kdna_resnet18`` is an architecture: random weights, unless pretrained ones are asked for, which
are those of its default tag. ``kdna_resnet18.fmnist``, ``hf-hub:ORG/NAME`` and ``local-dir:FOLDER``
are weights, and mean them in every command, asked for or not.
"""

ON_THE_HUB = ("hf-hub:", "hf_hub:")
LOCATED = (*ON_THE_HUB, "local-dir:")  # timm reads the name and the configuration there


def stands_for_weights(name: str) -> bool:
    """Tell whether a name for ``timm.create_model`` is one of weights: located, or with a tag."""
    return name.startswith(LOCATED) or "." in name
