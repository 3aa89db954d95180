"""Training data: images, patches, noise and masks."""
