"""The accuracies of runs, compared seed by seed."""
