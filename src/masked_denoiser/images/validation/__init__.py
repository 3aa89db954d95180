"""Checks of files before they are read: sizes, codecs, XML."""
