"""Comparison with other programs on the same images: `python -m benchmarks peers`."""
