"""Readers of zarr and OME-Zarr, on disk and over a network."""
