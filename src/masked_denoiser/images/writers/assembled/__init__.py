"""Sinks of files that are written sequentially, and are assembled from a working folder when all pixels are there."""
