"""Noise card: what noise an image has, and what a job would do about it."""
