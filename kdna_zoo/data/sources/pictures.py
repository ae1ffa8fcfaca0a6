"""Finds the picture files below a folder, and counts what it passes over.

The one list of extensions is that of the installed Pillow, in any case, so that a plugin such as
pillow-heif adds its own; formats are left out that Pillow only recognises, or that are no pictures.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from kdna_zoo.errors import UserError

NO_PICTURES = {  # Pillow needs another program for these, or only knows that they are such files
    *(".bufr", ".emf", ".eps", ".grib", ".h5", ".hdf", ".iim", ".mpeg", ".mpg", ".ps", ".wmf"),
}
CAMERA = ".mpo"  # several JPEGs in a row, which Pillow opens as JPEG and lists for saving only
SYSTEM_NAMES = {  # what operating systems and network drives leave in a folder, in lower case
    *("__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "lost+found"),
}
HIDDEN, EMPTY = "hidden or of the system", "folder without images"
Identity: TypeAlias = tuple[int, int]  # device and inode
NOT_UNICODE = "name that is not UTF-8"
BROKEN, CIRCLE, SPECIAL = "broken link", "link to a folder around it", "no regular file"


@cache
def extensions() -> frozenset[str]:
    """Return the extensions of picture files, in lower case, each with its dot."""
    known = Image.registered_extensions().items()
    opened = {extension.lower() for extension, kind in known if kind in Image.OPEN}
    return frozenset((opened | {CAMERA}) - NO_PICTURES)


def is_picture(name: str) -> bool:
    """Tell by its name whether a file is a picture."""
    return os.path.splitext(name)[1].lower() in extensions()


def is_hidden(name: str) -> bool:
    """Whether a name begins with a dot, or is one that a system leaves in folders."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


@dataclass
class PassedOver:
    """Counts the files and folders that are not used, by reason.

    Attributes:
        counts: How many, by reason.
        first: The first one of each reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def note(self, reason: str, path: str) -> None:
        """Count one.

        Args:
            reason: Why it is passed over.
            path: Where it is.
        """
        self.counts[reason] += 1
        self.first.setdefault(reason, path)

    def note_file(self, path: str) -> None:
        """Count a file that is no picture, by its extension."""
        self.note(_kind(path), path)

    def use_file(self, path: str) -> None:
        """Count a file no longer that is used after all."""
        self.counts[_kind(path)] -= 1

    def __str__(self) -> str:
        found = sorted((+self.counts).items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{n} {reason} (as {self.first[reason]})" for reason, n in found)


def _kind(path: str) -> str:
    return os.path.splitext(path)[1].lower() or "without extension"


@dataclass(frozen=True)
class Listing:
    """What a folder holds, itself alone.

    Attributes:
        folders: Paths of the folders in it, by name, links to folders included.
        files: Paths of the wanted files in it, by name.
    """

    folders: list[str]
    files: list[str]


def list_folder(
    folder: str, passed: PassedOver, wanted: Callable[[str], bool] = is_picture
) -> Listing:
    """List a folder, in the order of names.

    Args:
        folder: Its path.
        passed: Counts what is neither a folder nor a wanted file.
        wanted: Tells by its name whether a file is wanted.

    Raises:
        UserError: If it cannot be listed.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_unicode(entry.name):
                    passed.note(NOT_UNICODE, os.fsencode(entry.path).decode(errors="replace"))
                elif is_hidden(entry.name):
                    passed.note(HIDDEN, entry.path)
                elif _is_folder(entry):
                    folders.append(entry.path)
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    passed.note(BROKEN, entry.path)
                elif not entry.is_file():
                    passed.note(SPECIAL, entry.path)
                elif wanted(entry.name):
                    files.append(entry.path)
                else:
                    passed.note_file(entry.path)
    except OSError as error:
        raise UserError(
            f"Cannot list the folder {folder}: {error.strerror or error}. Make it readable, or "
            "take it out of the data set."
        ) from error
    return Listing(sorted(folders, key=lambda path: path + os.sep), sorted(files))


def _is_unicode(name: str) -> bool:
    """Whether a name can be written as UTF-8; Python reads other bytes as half characters."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that ends in itself
        return False


def files_below(
    folder: str,
    passed: PassedOver,
    around: frozenset[Identity] = frozenset(),
    wanted: Callable[[str], bool] = is_picture,
) -> Iterator[str]:
    """Give the wanted files in a folder and all folders in it, in the order of their whole paths.

    Links are followed, but not to a folder that the link itself lies in.

    Args:
        folder: Its path.
        passed: Counts what is passed over.
        around: The folders that it lies in, as `identity` has them.
        wanted: Tells by its name whether a file is wanted.
    """
    itself = identity(folder)
    if itself in around:
        passed.note(CIRCLE, folder)
        return
    found = list_folder(folder, passed, wanted)
    folders = {path + os.sep for path in found.folders}
    for path in sorted([*found.files, *folders]) if folders else found.files:
        if path in folders:
            inner = path.removesuffix(os.sep)
            yield from files_below(inner, passed, around | {itself}, wanted)
        else:
            yield path


def identity(folder: str) -> Identity:
    """Return what a folder is recognised by, however a link calls it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def find_pictures(folder: Path) -> tuple[list[Path], PassedOver]:
    """Return the pictures below a folder, in order, and what was passed over."""
    passed = PassedOver()
    return [Path(path) for path in files_below(str(folder), passed)], passed
