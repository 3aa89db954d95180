"""Storage of a job: its output on disk, its journal and its lock."""
