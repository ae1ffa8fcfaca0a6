"""``kdna-zoo report`` in headless Chromium: pictures are drawn, nothing is fetched, no error."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kdna_zoo.cli.app import main

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), "")
LOOK = """<script>
addEventListener("load", () => {
  const seen = {
    widths: [...document.images].map(image => image.naturalWidth),
    fetched: performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 40)),
    wider: document.documentElement.scrollWidth - innerWidth,
  };
  document.title = JSON.stringify(seen);
});
</script>"""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not BROWSER, reason="no chromium on this machine"),
]


def look(page: Path, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Open a page and return what it shows, and what the browser's console says."""
    copy = tmp_path / "looked_at.html"
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace("</head>", f"{LOOK}</head>"), encoding="utf-8")
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'user'}",
    )
    logged = ("--enable-logging=stderr", "--window-size=1280,900", "--virtual-time-budget=20000")
    done = subprocess.run(
        [BROWSER, *options, *logged, "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stdout[:500]
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(title[1])), console


def test_every_picture_is_drawn(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    files = sorted(map(str, BENCHMARKS.glob("*.json")))
    assert main(["report", *files, "--to", str(page)]) == 0
    seen, console = look(page, tmp_path)
    assert len(seen["widths"]) == page.read_text().count("<img ") > 0
    assert all(seen["widths"])
    assert all(str(name).startswith("data:") for name in seen["fetched"])
    assert seen["wider"] <= 0, "the page is no wider than its window"
    assert console == ""


def test_a_broken_page_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    broken = "<img src='data:image/svg+xml;base64,AAAA'><script>throw new Error('oh')</script>"
    page.write_text(f"<html><head><title></title></head><body>{broken}</body></html>")
    seen, console = look(page, tmp_path)
    assert seen["widths"] == [0]
    assert "Error: oh" in console
