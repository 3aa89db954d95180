"""Report on a denoised image: one HTML page with pictures and figures, for a reviewer or a methods section."""
