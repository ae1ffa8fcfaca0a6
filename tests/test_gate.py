"""The gate and the workflows run what README and pyproject.toml say."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GATE = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_readme_and_the_gate_have_the_same_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    shown = {line for line in lines if line.startswith("pip install -e ")}
    run = re.findall(r"^as_in_readme '(.*?)'", GATE, flags=re.MULTILINE)
    assert set(run) == shown
    assert [command for command in run if command.endswith("&& pytest")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_have_a_version(path: Path) -> None:
    jobs = load(path)["jobs"].values()
    steps = [step for job in jobs for step in job.get("steps", [])]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", action)
    assert all("timeout-minutes" in job for job in jobs if "steps" in job)


def test_the_tested_versions_of_python_are_the_stated_ones() -> None:
    stated = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)
    matrix = load(ROOT / ".github" / "workflows" / "checks.yml")["jobs"]["tests"]["strategy"]
    assert matrix["matrix"]["python"] == stated
    assert f'requires-python = ">={stated[0]}"' in PROJECT


def test_pre_commit_has_the_versions_of_pyproject() -> None:
    hooks = {
        hook["id"]: {**repository, **hook}
        for repository in load(ROOT / ".pre-commit-config.yaml")["repos"]
        for hook in repository["hooks"]
    }
    assert f'"ruff=={hooks["ruff"]["rev"].removeprefix("v")}"' in PROJECT
    assert hooks["mypy"]["language"] == "system"  # that of [dev]
    assert re.search(r'"mypy==[\d.]+"', PROJECT)


@pytest.mark.integration
def test_integration_leaves_out_what_is_slow(tmp_path: Path) -> None:
    marks = ("", "integration", "integration slow", "integration network", "integration gpu")
    cases = "import pytest\n"
    for number, names in enumerate(marks):
        for name in names.split():
            cases += f"@pytest.mark.{name}\n"
        cases += f"def test_{number}(): pass\n"
    (tmp_path / "test_cases.py").write_text(cases)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    options += ["-c", str(ROOT / "pyproject.toml"), "-rA", str(tmp_path)]
    for layer, expected in ((), "test_0"), (("-m", "integration"), "test_1"):
        output = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *layer],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        assert re.findall(r"^PASSED .*::(\w+)", output, flags=re.MULTILINE) == [expected]
