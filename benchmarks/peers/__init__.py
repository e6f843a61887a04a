"""The project beside its peers and beside bare loops, in one run: `python -m benchmarks.peers`."""
