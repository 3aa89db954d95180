"""Noise measurement and noise treatment: what is done to an image around the network."""
