"""Readers of files and stores: each gives a lazily read source."""
