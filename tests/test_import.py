"""What ``import kdna_zoo`` costs somebody who has imported timm."""

import subprocess
import sys

PROGRAM = """
import sys, time, timm
before, started = set(sys.modules), time.process_time()
import kdna_zoo
print(time.process_time() - started)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_import_adds_next_to_nothing_to_timms() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seconds, packages = run.stdout.splitlines()
    assert float(seconds) <= 0.3
    assert not {"lightning", "datasets", "matplotlib", "torchmetrics", "rich"} & {*packages.split()}
