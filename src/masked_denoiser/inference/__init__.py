"""A model on a device: runner, precision, memory limits, halo, and what is measured to set them."""
