"""Flat regions of an image, on which noise is measured."""
