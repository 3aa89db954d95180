"""Noise: its measurement on images, and synthetic noise."""
