"""The site builds without a warning."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.mark.integration
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings"))),
    reason="needs the docs extra",
)
def test_it_builds_strictly(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "reference" / "index.html").read_text(encoding="utf-8")
    assert 'id="kdna_zoo.share_kernels"' in reference
    assert "Replace the children of" in reference
    assert "<table>" in (tmp_path / "benchmarks" / "index.html").read_text(encoding="utf-8")
