"""Readers of files and stores; each returns a lazily read image."""
