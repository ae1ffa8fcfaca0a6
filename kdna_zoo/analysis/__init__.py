"""Pictures and tables of runs and networks."""
