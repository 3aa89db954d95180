"""Synthetic noise: families with published definitions, and recipes that combine them."""
