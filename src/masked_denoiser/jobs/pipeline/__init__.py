"""The run of a job: reading, computing and writing side by side, with events."""
