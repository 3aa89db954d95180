"""Training: patches, recipe, trainer, validation, fine-tuning."""
