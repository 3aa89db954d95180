"""Readers of the formats of electron microscopes."""
