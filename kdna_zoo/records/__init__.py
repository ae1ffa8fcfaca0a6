"""What a run writes and a release reads: checkpoints, their record, JSON formats, the machine."""
