"""Reads a folder of images by rules that do not guess.

- Splits are folders at the top, by name alone, in any case: train or training; val, valid,
  validation or dev; test or testing. Where there are none, all images are the split ``train``.
- Classes are the folders of the next level, and all pictures below a class are its images, as in
  torchvision; or, if asked, the folder that holds a picture is its class, as in timm.
- Links are followed. Hidden files and those of an operating system are passed over, and all else
  that is not used is counted by its reason.

A folder of pictures alone, or with one class folder only, has images without labels. Among other
class folders one called ``train`` is a class, as long as it holds no folders with pictures.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from kdna_zoo.data.sources.pictures import (
    CIRCLE,
    EMPTY,
    Identity,
    Listing,
    PassedOver,
    files_below,
    identity,
    list_folder,
)
from kdna_zoo.errors import UserError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
OUTSIDE = "image outside of the class folders"
Level: TypeAlias = Literal["first", "last"]


@dataclass(frozen=True)
class FolderSplit:
    """The images of one split.

    Attributes:
        paths: The files, in the order of their paths.
        labels: The class of each, by name where folders are classes; None: it has none.
    """

    paths: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)

    def classes(self) -> Counter[Any]:
        """Count the images of each class."""
        return Counter(label for label in self.labels if label is not None)

    def describe(self) -> str:
        """Say how many images there are, and of how many classes."""
        images = f"{len(self.paths):,} image{'s' if len(self.paths) != 1 else ''}"
        classes = self.classes()
        if not classes:
            return f"{images} without labels"
        least, most = min(classes.values()), max(classes.values())
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        named = f"{len(classes):,} class{'es' if len(classes) != 1 else ''}"
        rest = len(self.paths) - classes.total()
        return f"{images} of {named}, {each} each" + (f", {rest:,} without label" if rest else "")


@dataclass(frozen=True)
class ImageFolder:
    """What a folder of images holds.

    Attributes:
        splits: The images of each split, by its name.
        passed: What was passed over.
    """

    splits: dict[str, FolderSplit]
    passed: PassedOver

    @property
    def labelled(self) -> bool:
        """Whether there are classes: two at least, in all splits together."""
        found: set[Any] = set()
        for split in self.splits.values():
            found |= split.classes().keys()
        return len(found) > 1


def read_image_folder(root: Path, level: Level = "first") -> ImageFolder:
    """List the images of a folder.

    Args:
        root: The folder.
        level: Which folder is an image's class: the ``first`` below the split, or the ``last``,
            which holds the image.

    Raises:
        UserError: If folders beside the splits hold images, or two folders are one split.
    """
    passed = PassedOver()
    top = list_folder(str(root), passed)
    splits = _find_splits(root, top, passed)
    reader = _Reader(level, passed, identity(str(root)))
    if splits is None:
        return ImageFolder({"train": reader.split(str(root), top)}, passed)
    for picture in top.files:
        passed.note(OUTSIDE, picture)
    found = {
        name: reader.split(folder, list_folder(folder, passed)) for name, folder in splits.items()
    }
    for name, split in found.items():
        if not split.paths:
            passed.note(EMPTY, splits[name])
    return ImageFolder({name: split for name, split in found.items() if split.paths}, passed)


def _find_splits(root: Path, top: Listing, passed: PassedOver) -> dict[str, str] | None:
    """Return the folder of each split; None where the folders at the top are classes."""
    splits: dict[str, str] = {}
    others = []
    for folder in top.folders:
        name = SPLIT_NAMES.get(os.path.basename(folder).lower())
        if name is None:
            others.append(folder)
        elif name in splits:
            raise UserError(
                f"{splits[name]} and {folder} are both the split {name!r} of {root}. Put their "
                "images into one folder."
            )
        else:
            splits[name] = folder
    if not splits:
        return None
    around = frozenset({identity(str(root))})
    filled = [folder for folder in others if _has_pictures(folder, around)]
    if filled and not any(_has_classes(folder, around) for folder in splits.values()):
        return None
    if filled:
        named = ", ".join(os.path.basename(folder) for folder in splits.values())
        raise UserError(
            f"{root} has the splits {named}, and images in {os.path.basename(filled[0])} beside "
            f"them, which is none. Splits are called {', '.join(SPLIT_NAMES)}; put the other "
            "folders into one of them, or elsewhere. If these folders are classes, put all of them "
            "into a folder called train."
        )
    for folder in others:
        passed.note(EMPTY, folder)
    return dict(sorted(splits.items(), key=lambda item: list(SPLIT_NAMES.values()).index(item[0])))


@dataclass(frozen=True)
class _Reader:
    """What it takes to read any split of a folder.

    Attributes:
        level: Which folder is a class.
        passed: Counts what is passed over.
        root: The data set's folder, which no link may lead back to.
    """

    level: Level
    passed: PassedOver
    root: Identity

    def split(self, folder: str, found: Listing) -> FolderSplit:
        """Read the classes of a split, or its images without labels where there are none."""
        around = frozenset({self.root, identity(folder)})
        classes = [(os.path.basename(path), self._below(path, around)) for path in found.folders]
        if not any(paths for _, paths in classes):
            return FolderSplit(found.files, [None] * len(found.files))
        for picture in found.files:
            self.passed.note(OUTSIDE, picture)
        split = FolderSplit()
        for name, paths in classes:
            split.paths.extend(paths)
            if self.level == "first":
                split.labels.extend([name] * len(paths))
            else:
                split.labels.extend(os.path.basename(os.path.dirname(path)) for path in paths)
        return split

    def _below(self, folder: str, around: frozenset[Identity]) -> list[str]:
        circles = self.passed.counts[CIRCLE]
        paths = list(files_below(folder, self.passed, around))
        if not paths and circles == self.passed.counts[CIRCLE]:
            self.passed.note(EMPTY, folder)
        return paths


def _has_pictures(folder: str, around: frozenset[Identity]) -> bool:
    return next(files_below(folder, PassedOver(), around), None) is not None


def _has_classes(folder: str, around: frozenset[Identity]) -> bool:
    around |= {identity(folder)}
    below = list_folder(folder, PassedOver()).folders
    return any(_has_pictures(path, around) for path in below)
