"""What a run writes about itself: its record, loggers and learning curves."""
