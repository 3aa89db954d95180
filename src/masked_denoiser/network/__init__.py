"""Torch modules: the masked Swin denoiser, its masks, and how far its pixels see."""
