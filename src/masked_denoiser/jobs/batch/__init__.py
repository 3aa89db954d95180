"""Lists of images, denoised one after the other."""
