"""Tile plans: the rectangles that are read and written, as a pure function of shapes."""
