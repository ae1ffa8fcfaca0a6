"""The commands of `kdna-zoo`, one module each; heavy imports wait until a command runs."""
