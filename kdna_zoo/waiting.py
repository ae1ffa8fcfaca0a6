"""How the threads of a ``kdna-zoo`` command wait for each other: asleep.

torch divides each operation among OpenMP's threads, and all wait for the last. By default they spin
meanwhile. Where other programs want the cores too, a spinning thread keeps a core from the very
thread that it waits for, and a run falls to a fraction of its speed; asleep, it falls to its share
of the machine. The number of threads stays torch's own, that of the cores the process may use: sums
depend on it, so a run that is resumed under another load goes on bit for bit.

OpenMP reads its settings when torch is loaded, so ``import kdna_zoo`` chooses before, in a process
of the command alone: another program's threads wait as it likes. Processes that a command starts
inherit the choice.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import PurePath

POLICY = "OMP_WAIT_POLICY"
SETTINGS = (
    POLICY,
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "KMP_LIBRARY",
)  # the standard's, GNU's, LLVM's
SCRIPTS = ("kdna-zoo", "lightning")
MODULES = ("kdna_zoo.cli", "kdna_zoo.lightning_alias")  # run by python -m
TIMES = "bench"  # times networks as they run in any program


def wait_asleep() -> None:
    """Let the threads of a ``kdna-zoo`` command sleep, unless the user has set how they wait."""
    if is_command(sys.argv, sys.orig_argv) and not any(name in os.environ for name in SETTINGS):
        os.environ[POLICY] = "passive"


def is_command(arguments: Sequence[str], line: Sequence[str]) -> bool:
    """Tell whether a process runs a command of ours, but for the one that times networks.

    Args:
        arguments: The program and what it was given, as in `sys.argv`.
        line: The interpreter and all that it was given, as in `sys.orig_argv`.
    """
    if not 0 < len(arguments) <= len(line):
        return False
    program = line[-len(arguments)].removeprefix("-m")  # where sys.argv has -m, the module's name
    ours = program in MODULES or PurePath(program).stem in SCRIPTS
    return ours and TIMES not in arguments
