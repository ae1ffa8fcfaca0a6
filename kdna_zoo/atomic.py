"""Replaces a folder or a file as a whole, so that no reader and no crash ever sees half of it.

The new content is written into a hidden folder beside the target (the same file system), flushed
to the disk and renamed into place. A folder that was there before moves aside first and is removed
last. Killed at any point, the target is the old folder, the new one, or absent for the instant
between two renames; the next call puts right what was left over. A file takes one rename.
POSIX only: it relies on renaming and flushing directories, and on `flock`.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

with suppress(ImportError):  # what replaces nothing runs elsewhere too
    import fcntl


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes `folder` if the block ends without an error.

    After an error or an interrupt in the block, `folder` is as it was before.

    Args:
        folder: The target: absent, or a directory to be replaced. Its parents are made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = _fresh(folder)
    with _alone_in(folder.parent):
        _tidy(folder)
        try:
            fresh.mkdir()
            yield fresh
            _flush(fresh)
            if folder.exists():
                os.rename(folder, _old(folder))
            os.rename(fresh, folder)
            _flush_directory(folder.parent)
        finally:
            _tidy(folder)


@contextmanager
def replaced_file(file: Path) -> Iterator[Path]:
    """Yield the path of an empty file to write, which becomes `file` if the block ends well.

    After an error or an interrupt in the block, `file` is as it was before. Killed, a hidden file
    with ``.kdna-zoo-new`` in its name may be left beside it, which the next call removes.

    Args:
        file: The target: absent, or a file to be replaced. Its folder must be there.
    """
    fresh = file.with_name(f".{os.getpid()}.kdna-zoo-new.{file.name}")  # with the same suffix
    _remove_left_files(file)
    handle = None
    try:
        fresh.touch()
        handle = fresh.open("rb")
        with suppress(OSError):  # some network file systems have no locks: go on without
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        access = fresh.stat().st_mode  # that of any new file; some writers make theirs private
        yield fresh
        fresh.chmod(access)
        with fresh.open("rb") as written:
            os.fsync(written.fileno())
        os.rename(fresh, file)
        _flush_directory(file.parent)
    finally:
        if handle is not None:
            handle.close()
        with suppress(OSError):
            fresh.unlink()


def _remove_left_files(file: Path) -> None:
    """Remove what was to become `file` in processes that were killed.

    Whoever writes one holds a lock on it, on another machine too, and has its number in the name.
    """
    pattern = re.compile(rf"\.(\d+)\.kdna-zoo-new\.{re.escape(file.name)}")
    with suppress(OSError):
        for left in file.parent.glob(".*.kdna-zoo-new.*"):
            match = pattern.fullmatch(left.name)
            if match and not _runs(int(match[1])):
                with left.open("rb") as handle:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _fresh(folder: Path) -> Path:
    """Where the new content grows, and where old content goes to be removed."""
    return folder.with_name(f".{folder.name}.kdna-zoo-new")


def _old(folder: Path) -> Path:
    """Where the old content waits, always whole, while the new one takes its place."""
    return folder.with_name(f".{folder.name}.kdna-zoo-old")


def _tidy(folder: Path) -> None:
    """Put an old folder back that has lost its place, and remove what else was left over.

    Errors are passed over: what cannot be removed now is in nobody's way, and the next call tries.
    """
    fresh, old = _fresh(folder), _old(folder)
    with suppress(OSError):
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists():
            os.rename(old, fresh)  # so that what bears the old name is never half removed
            shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """Wait until no other process replaces a folder in `parent`, and keep others waiting."""
    handle = os.open(parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks: go on without
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _flush(folder: Path) -> None:
    """Write a flat folder's files and entries through to the disk."""
    for file in sorted(folder.iterdir()):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    _flush_directory(folder)


def _flush_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
