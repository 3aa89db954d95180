"""Metadata of images in the terms of this package: units, geometry of levels, fill values, calibrations."""
