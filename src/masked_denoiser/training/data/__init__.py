"""The data side of a training: images, patches, noise and masks."""
