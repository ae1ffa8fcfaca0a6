from pathlib import Path

import pytest

from kdna_zoo.release.portable import portable

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"kdna-zoo fit --config {ROOT}/recipes/quickstart.yaml",
            "--config recipes/quickstart.yaml",
        ),
        ("--data.path /home/someone/pictures/pets", "--data.path path/to/pets"),
        ("--data.path=/data/pets --x 1", "--data.path=path/to/pets --x 1"),
        ("--data.path '~/pets'", "--data.path 'path/to/pets'"),
        ("default_root_dir: /scratch/me/runs\nlr: 0.1", "default_root_dir: path/to/runs\nlr: 0.1"),
        ("- /a/b/c.txt", "- path/to/c.txt"),
        ("path: zalando-datasets/fashion_mnist", "path: zalando-datasets/fashion_mnist"),
        ("recipes/a/b.yaml 1/2 and/or http://host/x", "recipes/a/b.yaml 1/2 and/or http://host/x"),
    ],
)
def test_paths_of_a_machine(text: str, expected: str) -> None:
    assert portable(text).endswith(expected)


def test_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert portable(f"--data.path {tmp_path}/images") == "--data.path images"
