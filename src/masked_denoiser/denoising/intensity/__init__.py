"""Intensity ranges, fill values and other conversions between pixels and the values that the network sees."""
