"""Pipeline of a job: reading, computing and writing simultaneously, with events."""
