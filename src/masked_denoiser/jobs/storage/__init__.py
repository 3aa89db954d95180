"""The output of a job on disk, its journal and its lock."""
