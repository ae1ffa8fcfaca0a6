"""Throughput, latency and memory of networks and loaders, side by side."""
