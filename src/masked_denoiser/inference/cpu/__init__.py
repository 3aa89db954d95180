"""Networks for inference on CPUs, by oneDNN's kernels with prepacked weights and fused pointwise operations."""
