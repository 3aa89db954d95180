"""Widgets of the Denoise dock."""
