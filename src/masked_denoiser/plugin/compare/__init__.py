"""Comparison of an image with its result: one or the other, a split, or side by side."""
