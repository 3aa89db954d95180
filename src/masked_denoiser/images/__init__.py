"""Images of any size: lazily read sources, sinks that fill as results come, and their axes."""
