"""Estimate of the error of a network on noisy images without their truth, from their measured noise."""
