"""Inference: a model on a device, with its precision, memory limits, halo and measured speed."""
