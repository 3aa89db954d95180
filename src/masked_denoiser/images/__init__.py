"""Images of any size: lazily read sources, sinks written tile by tile, and axes."""
