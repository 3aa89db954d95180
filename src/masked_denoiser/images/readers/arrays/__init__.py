"""Images in memory: arrays of any library, and results of the same kind."""
