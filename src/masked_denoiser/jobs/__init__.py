"""Files in, files out: from options to a job, and from a job to its result."""
