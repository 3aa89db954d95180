"""Synthetic noise: families, recipes that combine them, and their parser."""
