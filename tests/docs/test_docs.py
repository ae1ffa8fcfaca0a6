"""What the other pages show works as it stands, and links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from docs.tables import measured
from kdna_zoo import cli
from tests.docs.pages import (
    OTHERS,
    README,
    ROOT,
    blocks,
    check_parses,
    commands,
    name_of,
    of_one_seed,
    run_python,
)

SNIPPETS = [(page, code) for page in OTHERS for code in blocks(page, "python")]


@pytest.fixture(scope="module")
def folder(published: Path) -> Path:
    """The folder of README's snippets, with a network in ONNX too."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    line = [
        "export",
        "test_kdna_resnet",
        "--format",
        "onnx",
        "--to",
        str(published / "network.onnx"),
    ]
    assert cli.main(line) == 0
    return published


@pytest.mark.integration
@pytest.mark.parametrize(("page", "code"), SNIPPETS, ids=[name_of(page) for page, _ in SNIPPETS])
def test_python_blocks_run(
    page: Path, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run_python(code, page)


@pytest.mark.integration
@pytest.mark.parametrize("page", [p for p in OTHERS if blocks(p, "sh")], ids=name_of)
def test_commands_parse(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    found = commands(page, tmp_path / "log")
    assert found
    for words in of_one_seed(found):
        check_parses(words, capsys)


def test_a_shell_block_is_run_as_it_stands(tmp_path: Path) -> None:
    evidence = ROOT / "docs" / "accuracy.md"
    lines = [shlex.join(words) for words in commands(evidence, tmp_path / "log")]
    assert sum("runs/evidence/" in line and " fit " in line for line in lines) == 3 * 29 + 3
    wanted = "--model.arch odconv4x_mobilenetv2_050 --seed_everything 2"
    assert any(line.endswith(wanted) for line in lines)


@pytest.mark.parametrize("page", [README, *OTHERS], ids=name_of)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_measurement_is_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in OTHERS)
    for file in sorted((ROOT / "docs" / "benchmarks").iterdir()):
        assert measured(file.name)["format"] if file.suffix == ".json" else True
        assert file.name in text, file.name
