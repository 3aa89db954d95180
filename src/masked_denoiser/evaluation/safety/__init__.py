"""What the default settings take from images: report, cases and measures."""
