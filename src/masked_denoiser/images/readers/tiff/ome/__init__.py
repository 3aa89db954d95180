"""OME-TIFF: metadata in OME-XML, and images in sets of files."""
