"""Live view: what the canvas shows is denoised while the user moves through an image."""
