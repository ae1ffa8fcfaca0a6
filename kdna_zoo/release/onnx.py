"""A network as one file, for deployment: ONNX, ``torch.export`` (.pt2) or safetensors.

No file is believed until it was read back and run beside the network it was written from.
"""

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdna_zoo.atomic import replaced_file
from kdna_zoo.errors import RunError, UserError
from kdna_zoo.release.time_limit import OutOfTimeError, time_limit

OLDEST_OPSET = 18  # the first with all operators as torch's exporter writes them
DEFAULT_OPSET = 20  # what torch itself writes if not asked
NEWEST_OPSET = 23  # the last that torch's exporter writes
DEFAULT_LIMIT = 900  # seconds
INPUT, OUTPUT = "images", "logits"  # names of the ONNX file's input and output

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Request:
    """What to write.

    Attributes:
        model: The network, in eval mode on the CPU.
        rebuild: Makes the same network with other weights, into which safetensors are loaded.
        input_size: Channels, height and width of an image.
        batch: The one batch size that the file takes; None for any. safetensors has none.
        opset: Version of ONNX's operators.
        limit: Seconds after which the exporter is given up.
        metadata: Text that goes into the file beside the network: ONNX's ``metadata_props``, the
            header of safetensors, and ``metadata.json`` among the extra files of a .pt2.
    """

    model: nn.Module
    rebuild: Callable[[], nn.Module]
    input_size: Sequence[int]
    batch: int | None = None
    opset: int = DEFAULT_OPSET
    limit: int = DEFAULT_LIMIT
    metadata: dict[str, str] | None = None

    def images(self, batch: int) -> Tensor:
        """Make images to run the network on, the same ones for the same batch size."""
        generator = torch.Generator().manual_seed(batch)
        return torch.randn(batch, *self.input_size, generator=generator)  # (N, C, H, W)


@dataclass(frozen=True)
class Check:
    """How far the written file's output was from the network's.

    Attributes:
        batches: The batch sizes that were run.
        difference: The largest difference of two logits.
        relative: The same, over the largest logit.
    """

    batches: tuple[int, ...]
    difference: float
    relative: float


def export_network(request: Request, file: Path, format: str) -> Check:
    """Write a network into a file, read it back and compare: all of it or nothing.

    Args:
        request: What to write.
        file: Where to; replaced if it is there. Its folder must be there.
        format: One of `FORMATS`.

    Raises:
        UserError: If the file cannot be written, or the network gives no finite output.
        RunError: If the network cannot be exported, or the file computes something else.
    """
    check_opset(request.opset)
    if file.is_dir():
        raise UserError(f"{file} is a folder; give the path of a file")
    write, read, tolerance = FORMATS[format]
    try:
        with replaced_file(file) as fresh, _quiet():
            _run(request, request.batch or 2)  # what does not even run is not the exporter's fault
            _attempt(write, request, fresh, format)
            check = _compare(request, read(request, fresh))
            if not check.relative <= tolerance:
                raise RunError(
                    f"nothing was written: the {format} file's output is "
                    f"{check.relative:.1e} from the network's (relative), "
                    f"more than the {tolerance:.0e} allowed"
                )
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {file}: {error}") from error
    return check


def check_opset(opset: int) -> None:
    """Check that an opset can be written.

    Raises:
        UserError: If not.
    """
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UserError(
            f"opset {opset} is too {'old' if opset < OLDEST_OPSET else 'new'}: give one from "
            f"{OLDEST_OPSET} to {NEWEST_OPSET}, or leave --opset away for {DEFAULT_OPSET}"
        )


def _attempt(write: Callable[[Request, Path], None], request: Request, to: Path, name: str) -> None:
    try:
        with time_limit(request.limit):
            write(request, to)
    except OutOfTimeError as error:
        raise RunError(
            f"gave up the export as {name}: it did not end in {request.limit} s. Give it longer by "
            "--timeout SECONDS, or leave less to it: --batch N, --fuse speed, a smaller network"
        ) from error
    except (OSError, SafetensorError):
        raise
    except Exception as error:  # an exporter runs the network's own code, which may raise anything
        raise RunError(f"cannot export this network as {name}: {_gist(error)}") from error


def _run(request: Request, batch: int) -> tuple[Tensor, Tensor]:
    """Make images and run the network on them: (N, C, H, W), (N, classes)."""
    images = request.images(batch)
    try:
        with torch.no_grad():
            return images, request.model(images)
    except Exception as error:  # the network's own code may raise anything
        size = " x ".join(map(str, request.input_size))
        raise UserError(f"the network takes no images of {size}: {_gist(error)}") from error


def _gist(error: BaseException) -> str:
    """Return the first line of what went wrong at first, without a terminal's colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _compare(request: Request, written: Network) -> Check:
    batches = (request.batch,) if request.batch else (1, 3)
    difference = largest = 0.0
    for batch in batches:
        images, expected = _run(request, batch)
        with torch.no_grad():
            output = written(images)  # (N, classes)
        if not expected.isfinite().all():
            raise UserError(
                "nothing was written: the network gives NaN or infinity on ordinary input"
            )
        if output.shape != expected.shape or not output.isfinite().all():
            raise RunError(
                f"nothing was written: the file gives {tuple(output.shape)} values where the "
                f"network gives {tuple(expected.shape)}, or some that are not finite"
            )
        difference = max(difference, (output - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())
    return Check(batches, difference, difference / largest if largest else difference)


def _write_onnx(request: Request, to: Path) -> None:
    program = torch.onnx.export(
        request.model,
        (request.images(request.batch or 2),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=request.opset,
        dynamic_shapes=_dynamic_shapes(request),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():  # lines and paths of the source, on this machine
        node.metadata_props.clear()
    program.model.metadata_props.update(request.metadata or {})
    program.save(to, external_data=False)


def _read_onnx(request: Request, file: Path) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def _write_pt2(request: Request, to: Path) -> None:
    images = request.images(request.batch or 2)
    program = torch.export.export(request.model, (images,), dynamic_shapes=_dynamic_shapes(request))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines and paths of the source, on this machine
    about = json.dumps(request.metadata or {}, indent=2)
    torch.export.save(program, to, extra_files={"metadata.json": about})


def _read_pt2(request: Request, file: Path) -> Network:
    return torch.export.load(file).module()


def _dynamic_shapes(request: Request) -> tuple[dict[int, Any]] | None:
    return None if request.batch else ({0: torch.export.Dim("batch")},)


def _write_safetensors(request: Request, to: Path) -> None:
    state = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in request.model.state_dict().items()
    }
    save_file(state, to, metadata={"format": "pt", **(request.metadata or {})})


def _read_safetensors(request: Request, file: Path) -> Network:
    model = request.rebuild()
    model.load_state_dict(load_file(file))
    return model


# Format -> how to write it, how to read it, and the largest relative difference allowed: a runtime
# adds up in another order than torch, while weights loaded back have no reason to differ.
FORMATS: dict[
    str, tuple[Callable[[Request, Path], None], Callable[[Request, Path], Network], float]
] = {
    "onnx": (_write_onnx, _read_onnx, 1e-4),
    "pt2": (_write_pt2, _read_pt2, 1e-5),
    "safetensors": (_write_safetensors, _read_safetensors, 1e-6),
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters tell of their own doings from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
