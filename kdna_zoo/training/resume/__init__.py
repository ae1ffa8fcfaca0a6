"""Going on with an interrupted run, bit for bit: checkpoints, signals, random states."""
