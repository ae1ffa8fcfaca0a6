"""What is benchmarked: a network in a form, and the step it takes.

The forms:

* ``eager``: as timm builds it, NCHW;
* ``channels_last``: weights and images in that memory format;
* ``fused``: `kdna_zoo.fuse`, child kernels baked in and batch norms folded; inference only;
* ``fused_channels_last``: both;
* ``compiled``: ``torch.compile`` for the one image and batch size, NCHW;
* ``compiled_graphs``: the same with CUDA graphs, mode ``"reduce-overhead"``; on a GPU only.

``own:NAME`` is the control: the network NAME with a kernel of its own in each layer and no adapter,
which is timm's base with the same arguments. Its fused form has its batch norms folded too. The
other controls of the ablation stand before a name in the same way, such as ``shared_static:NAME``;
see `kdna_zoo.sharing.ablation`.

An inference step is a forward pass in ``torch.inference_mode``; a training step is forward pass,
cross-entropy, backward pass and an update by SGD with momentum, on the same images each time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import timm
import torch
from torch import nn

from kdna_zoo.analysis.bench.timing import Step
from kdna_zoo.errors import UserError
from kdna_zoo.names import stands_for_weights
from kdna_zoo.sharing import CONTROLS, fuse

Mode = Literal["infer", "train"]

OWN = "own"
FORMS = (
    *("eager", "channels_last", "fused", "fused_channels_last"),
    *("compiled", "compiled_graphs"),
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class BenchmarkCase:
    """A network in a form.

    Attributes:
        network: A registered name, also with a control of the ablation before it: ``own:NAME``.
        form: One of `FORMS`.
    """

    network: str
    form: str

    def __str__(self) -> str:
        return f"{self.network} {self.form}"


@dataclass(frozen=True)
class Setting:
    """What all cases of a run have in common.

    Attributes:
        mode: ``"infer"`` or ``"train"``.
        batch_size: Images in a step.
        img_size: Their height and width, in pixels.
        device: ``"cpu"`` or ``"cuda"``.
        threads: Of the CPU.
        dtype: A key of `DTYPES`. Inference computes in it; training keeps float32 weights and
            computes in it by autocast.
    """

    mode: Mode = "infer"
    batch_size: int = 16
    img_size: int = 224
    device: str = "cpu"
    threads: int = 1
    dtype: str = "float32"

    def __str__(self) -> str:
        task = "Inference" if self.mode == "infer" else "Training step"
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{task}, batch {self.batch_size}, {self.img_size} x {self.img_size}, {self.dtype}, "
            f"{self.device}{threads if self.device == 'cpu' else ''}"
        )


@dataclass(frozen=True)
class Runner:
    """A case that is ready.

    Attributes:
        step: Takes one step.
        parameters: Of the network in this form.
    """

    step: Step
    parameters: int


def make_runner(case: BenchmarkCase, setting: Setting) -> Runner:
    """Build a case's network, and its step.

    Raises:
        UserError: If the case does not fit the setting or cannot be built.
    """
    torch.manual_seed(0)
    model = _in_form(build_network(case.network), case.form, setting)
    channels = cast("dict[str, Any]", model.pretrained_cfg)["input_size"][0]
    shape = (setting.batch_size, channels, setting.img_size, setting.img_size)
    images = torch.randn(shape, device=setting.device)  # (N, C, H, W)
    if case.form.endswith("channels_last"):
        images = images.to(memory_format=torch.channels_last)
    forward: Callable[[torch.Tensor], torch.Tensor] = model
    if case.form.startswith("compiled"):
        forward = _compiled(model, case.form, setting)
    if setting.mode == "infer":
        return _inference(model, forward, images.to(DTYPES[setting.dtype]))
    return _training(model, forward, images, DTYPES[setting.dtype])


def split_control(name: str) -> tuple[str, str]:
    """Split ``CONTROL:NAME``; the control of a plain name, also of ``hf-hub:...``, is empty."""
    control, colon, network = name.partition(":")
    return (control, network) if colon and control in CONTROLS else ("", name)


def has_weights(name: str) -> bool:
    """Report whether a case has weights and not random ones; a control never has."""
    control, network = split_control(name)
    return not control and stands_for_weights(network)


def build_network(name: str) -> nn.Module:
    """Build a network, with its weights if its name stands for some; or a control of it.

    A control, ``CONTROL:`` before a name, is another architecture, and has random weights.

    Raises:
        UserError: If the network has no such control, as it shares nothing.
    """
    control, network = split_control(name)
    model: nn.Module = timm.create_model(network, pretrained=has_weights(name))
    if control and not hasattr(model, "base_arch" if control == OWN else "sharing_plan"):
        raise UserError(
            f"{name!r}: {network} shares nothing, so it has a kernel of its own in each layer "
            f"already; leave {control + ':'!r} away"
        )
    if control == OWN:
        model = timm.create_model(
            cast("str", model.base_arch), **cast("dict[str, Any]", model.base_args)
        )
    elif control:
        model = timm.create_model(network, ablation=control)
    if not has_weights(name):
        _wake_norms(model)
    return model


def _wake_norms(model: nn.Module) -> None:
    """Give norms that start at zero, as timm's last one of a block, a weight as after training.

    Folded into a kernel, a zero makes it all zeros, which some hardware computes with faster.
    """
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim == 1 and not weight.any():
            nn.init.constant_(weight, 0.2)


def _in_form(model: nn.Module, form: str, setting: Setting) -> nn.Module:
    fused = form.startswith("fused")
    if fused and setting.mode == "train":
        raise UserError(f"the form {form!r} is for inference; train one of {', '.join(TRAINABLE)}")
    model = fuse(model, keep="speed") if fused else model
    dtype = DTYPES[setting.dtype] if setting.mode == "infer" else torch.float32
    model = model.to(setting.device, dtype)
    if form.endswith("channels_last"):
        model = model.to(memory_format=torch.channels_last)
    return model.train(setting.mode == "train")


TRAINABLE = tuple(form for form in FORMS if not form.startswith("fused"))


def _compiled(model: nn.Module, form: str, setting: Setting) -> Callable[..., Any]:
    """Compile a network; see `failing_past_the_recompile_limit`."""
    if form == "compiled":
        return torch.compile(model, dynamic=False)
    if setting.device != "cuda":
        raise UserError(f"the form {form!r} has CUDA graphs, so it needs --device cuda")
    graphs = torch.compile(model, dynamic=False, mode="reduce-overhead")

    def forward(images: torch.Tensor) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return graphs(images)

    return forward


def _inference(model: nn.Module, forward: Callable[..., Any], images: torch.Tensor) -> Runner:
    def step() -> None:
        with torch.inference_mode():
            forward(images)

    return Runner(step, _count(model))


def _training(
    model: nn.Module, forward: Callable[..., Any], images: torch.Tensor, dtype: torch.dtype
) -> Runner:
    with torch.no_grad():
        classes = model.eval()(images[:1]).shape[-1]
    model.train()
    labels = torch.arange(len(images), device=images.device) % classes  # (N,)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    mixed = dtype != torch.float32

    def step() -> None:
        with torch.autocast(images.device.type, dtype if mixed else None, enabled=mixed):
            loss = nn.functional.cross_entropy(forward(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()  # at the end, so that a resting case holds no gradients

    return Runner(step, _count(model))


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
