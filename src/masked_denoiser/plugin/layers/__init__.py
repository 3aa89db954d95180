"""Layers as sources, regions of layers, and live results."""
