"""Noise that neighbouring pixels share, distinguished from structure."""
