"""Denoising of single rectangles of an image when they are needed."""
