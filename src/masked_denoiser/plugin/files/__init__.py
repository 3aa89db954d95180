"""The tab of the Denoise dock for lists of files."""
