"""What errors tell their reader."""

from kdna_zoo.errors import did_you_mean


def test_hint_names_the_nearest_or_says_what_else() -> None:
    forms = ("eager", "fused", "smallest", "compiled")
    assert did_you_mean("fusd", forms, "see the list") == "did you mean fused?"
    assert did_you_mean("xyz", forms, "see the list") == "see the list"
    hint = did_you_mean("layer4.1.conv3", [f"layer4.1.conv{i}" for i in (1, 2)], "")
    assert hint == "did you mean layer4.1.conv2, layer4.1.conv1?"
