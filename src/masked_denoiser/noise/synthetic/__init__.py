"""Synthetic noise: families of noise, recipes that combine them, and the reader of recipes."""
