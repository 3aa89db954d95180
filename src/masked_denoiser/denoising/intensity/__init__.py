"""Intensities as the network sees them, and back."""
