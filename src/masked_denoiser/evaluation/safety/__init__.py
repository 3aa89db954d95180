"""Safety report: what the default settings remove from images, and whether it is noise."""
