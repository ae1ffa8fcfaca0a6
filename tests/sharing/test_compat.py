"""What sharing asks of torch's private parts: fails when torch changes, or has it in public."""

from torch import nn

from kdna_zoo.sharing.compat import has_hooks


def test_hooks_are_seen() -> None:
    layer = nn.Linear(2, 2)
    assert not has_hooks(layer)
    for register in (layer.register_forward_hook, layer.register_forward_pre_hook):
        handle = register(lambda *_: None)
        assert has_hooks(layer)
        handle.remove()
        assert not has_hooks(layer)
    for name in ("has_hooks", "forward_hooks", "forward_pre_hooks"):
        assert not hasattr(layer, name), "torch has it in public"
