"""A file is replaced as a whole or not at all."""

import os
from pathlib import Path

import pytest

from kdna_zoo.atomic import replaced_file


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old")
    with replaced_file(file) as fresh:
        fresh.write_text("new")
        assert file.read_text() == "old"
        assert fresh.suffix == ".txt", "some writers go by it"
    assert file.read_text() == "new"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_all_is_as_before(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def fail() -> None:
        with replaced_file(file) as fresh:
            fresh.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_access_is_that_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    with replaced_file(tmp_path / "file") as fresh:
        fresh.unlink()
        fresh.touch(mode=0o600)  # as safetensors does
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replaced_file(tmp_path / "absent" / "file"):
        pytest.fail("the work must not start")
