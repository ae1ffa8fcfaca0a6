"""A trained network becomes a KernelDNA network that computes nearly the same."""
