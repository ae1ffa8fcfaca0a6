"""What a page of the project shows: its Python blocks, and the commands of its shell blocks.

A shell block is run as it stands, by a shell in which every program only writes down what it was
given, so that loops, functions and quotes mean what they mean to a reader.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from docs.generate import pages
from kdna_zoo import cli

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
OTHERS = [page for page in pages() if page != README]
OURS = ("kdna-zoo", "lightning")
NOT_OURS = ("pip", "pytest", "apt-get", "mkdocs", "pre-commit", "source")
WRITES_DOWN = """\
set -euo pipefail
given() { printf '%q ' "$@" >>"$LOG"; echo >>"$LOG"; }
srun() { "$@"; }
torchrun() { while [ "$1" != kdna_zoo.cli ]; do shift; done; shift; given kdna-zoo "$@"; }
python() { given python "$@"; }
bash() { [ -f "$ROOT/$1" ]; }
"""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(page: Path, log: Path) -> list[list[str]]:
    """Run the shell blocks of a page in one shell; return the commands of ours, each once."""
    stubs = [f'{name}() {{ given {name} "$@"; }}' for name in OURS]
    stubs += [f"{name}() {{ :; }}" for name in NOT_OURS]
    script = "\n".join([WRITES_DOWN, *stubs, *blocks(page, "sh")])
    log.touch()
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("needs bash")
    nothing_else = {"PATH": "", "LOG": str(log), "ROOT": str(ROOT)}
    subprocess.run([shell, "-c", script], check=True, env=nothing_else, cwd=log.parent)
    lines = dict.fromkeys(log.read_text(encoding="utf-8").splitlines())
    return [shlex.split(line) for line in lines]


def of_one_seed(found: list[list[str]]) -> list[list[str]]:
    """Leave one of the commands that differ in numbers alone, such as seeds."""
    return list({re.sub(r"(?<=[ .])\d+\b", "0", shlex.join(line)): line for line in found}.values())


def check_parses(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """See that the command line takes a command; the folder must be the top of the checkout."""
    program, *arguments = words
    if program == "python":
        assert arguments[0] == "-m", words
        assert (ROOT / f"{arguments[1].replace('.', '/')}.py").exists(), words
        return
    if arguments[0].startswith(cli.COMPLETION):
        return  # tests/training/command/test_completion.py runs it, which takes long
    if arguments[0] not in cli.TRAINING:
        assert program == "kdna-zoo"
        assert cli.make_parser().parse_args(arguments).run
        return
    if "--help" not in arguments:
        arguments.append("--print_config")
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0, words
    assert "trainer" in capsys.readouterr().out


def run_python(code: str, page: Path) -> None:
    """Run a Python block as a program; skip it where a package that it imports is not installed."""
    for package in ("segmentation_models_pytorch", "transformers", "onnxruntime"):
        if f"import {package}" in code or f"from {package}" in code:
            pytest.importorskip(package)
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, name_of(page), "exec"), names)
