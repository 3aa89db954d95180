"""Reader of TIFF files: series, pixels, colour and metadata."""
