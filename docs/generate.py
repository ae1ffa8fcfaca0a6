"""Write every table of figures in README.md and docs/ from the measurements' JSON, and results.csv.

And what `kdna-zoo models` prints, which it need not count then.

    python -m docs.generate          writes
    python -m docs.generate --check  writes nothing, and fails if something would change

A page says what goes where; prose around it is free:

    <!-- generated: bench latency.json -->
    ...
    <!-- end -->

The first word is a function, see `MAKERS`; the others are what it is given.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import timm

from docs import summaries, tables
from kdna_zoo.cli._network_table import TABLE, write_down
from kdna_zoo.cli._networks import describe

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
MAKERS: dict[str, Callable[..., str]] = {
    "bench": tables.bench,
    "loaders": tables.loaders,
    "compare": tables.compare,
    "models": tables.models,
    "networks": tables.networks,
    "ablation": tables.ablation,
    "cka": tables.cka,
    "weights": summaries.weights,
    "speed": summaries.speed,
    "accuracy": summaries.accuracy,
}
RESULTS = ROOT / "docs" / "results.csv"


def pages() -> list[Path]:
    """Return the Markdown files that a reader of the project reads, README.md first."""
    top = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "recipes" / "README.md"]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def regenerate(text: str) -> str:
    """Return a page with its tables as the measurements have them."""
    return BLOCK.sub(lambda found: f"{found[1]}{_make(found[2])}\n{found[3]}", text)


def outdated() -> dict[Path, str]:
    """Return what each file should hold that holds something else."""
    wanted = {page: regenerate(page.read_text(encoding="utf-8")) for page in pages()}
    wanted[RESULTS] = summaries.results_csv()
    wanted[TABLE] = _counted()
    return {path: text for path, text in wanted.items() if _read(path) != text}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="Write the tables of figures from the JSON files.")
    parser.add_argument("--check", action="store_true", help="compare only")
    given = parser.parse_args(arguments)
    if not given.check:
        TABLE.write_text(_counted(), encoding="utf-8")  # pages have it too
    changed = outdated()
    for path, text in changed.items():
        if not given.check:
            path.write_text(text, encoding="utf-8")
        print(f"{'out of date' if given.check else 'wrote'}: {path.relative_to(ROOT)}")
    return int(given.check and bool(changed))


@cache
def _counted() -> str:
    return write_down(map(describe, timm.list_models("kdna_*")))


def _make(directive: str) -> str:
    maker, *arguments = directive.split()
    return MAKERS[maker](*arguments)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
