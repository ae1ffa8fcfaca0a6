"""The options of `ImageData` that belong together, in groups.

An option of a group may be given without the group's name too: ``mean`` is ``preprocess.mean``. So
it was called before there were groups, and so older recipes have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from kdna_zoo.data.sources.image_folder import Level
from kdna_zoo.errors import UserError


@dataclass(frozen=True)
class SourceOptions:
    """Which data set is read, beside its path.

    Attributes:
        name: Configuration of a data set that has several.
        revision: Branch, tag or commit of a data set on the Hub.
        cache_dir: Where `datasets` keeps its Arrow files; None: its own choice.
    """

    name: str | None = None
    revision: str | None = None
    cache_dir: str | None = None


@dataclass(frozen=True)
class ColumnOptions:
    """Where images and labels are, and what the labels mean.

    Attributes:
        image_column: The column of images; None: the only one of that type.
        label_column: The column of labels; None: the only one of that type.
        label_names: Names of the classes, by index, where the data set does not declare them; of
            a column of strings, its values.
        class_folders: Of an image folder, which folder is an image's class: the ``first`` below
            the split, as in torchvision, or the ``last``, which holds the image, as in timm.
        learnt_names: The classes that the network to evaluate has learnt, in its order; the command
            line takes them from the checkpoint. Folders or strings among them are these classes.
    """

    image_column: str | None = None
    label_column: str | None = None
    label_names: list[str] | None = None
    class_folders: Level = "first"
    learnt_names: list[str] | None = None


@dataclass(frozen=True)
class PreprocessOptions:
    """timm's data config, beside the input size; None: the network's own.

    Attributes:
        mean: Mean of each channel, of values in [0, 1]; grey images take the average of three.
        std: Standard deviation of each channel, as `mean`.
        interpolation: How images are resized, in training too unless `augment` says otherwise.
        crop_pct: Part of the resized image's side that the evaluation crop keeps.
        crop_mode: How the evaluation crop is taken.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None


@dataclass(frozen=True)
class LoaderOptions:
    """How images are loaded, beside the batch size and the number of workers.

    Attributes:
        eval_batch_size: Images in any batch but those of training, on each device; None: as many.
        pin_memory: Whether to load into page-locked memory; None: where there is CUDA.
        on_bad_image: Whether an image that cannot be read ends the run, or is skipped.
        bad_image_limit: How many images to skip at most, on each device.
    """

    eval_batch_size: int | None = None
    pin_memory: bool | None = None
    on_bad_image: Literal["error", "skip"] = "error"
    bad_image_limit: int = 100

    def __post_init__(self) -> None:
        if self.eval_batch_size is not None and self.eval_batch_size < 1:
            raise UserError(f"eval_batch_size must be at least 1, got {self.eval_batch_size}")
        if self.bad_image_limit < 0:
            raise UserError(f"bad_image_limit must be at least 0, got {self.bad_image_limit}")


GROUPS = {
    "source": SourceOptions,
    "columns": ColumnOptions,
    "preprocess": PreprocessOptions,
    "loader": LoaderOptions,
}
GROUP_OF = {field.name: group for group, kind in GROUPS.items() for field in fields(kind)}


def with_flat(groups: Mapping[str, Any], flat: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return groups of options with those that were given without a group's name.

    Args:
        groups: One of each of `GROUPS`, by name.
        flat: Options by name.

    Raises:
        TypeError: If no group has such an option.
    """
    unknown = [name for name in flat if name not in GROUP_OF]
    if unknown:
        raise TypeError(f"ImageData has no argument {', '.join(map(repr, unknown))}")
    return tuple(
        replace(options, **{name: flat[name] for name in flat if GROUP_OF[name] == group})
        for group, options in groups.items()
    )
