"""Training: data, recipe, trainer, validation and fine-tuning."""
