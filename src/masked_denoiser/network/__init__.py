"""Torch modules: the masked denoisers, their masks, and their receptive fields."""
