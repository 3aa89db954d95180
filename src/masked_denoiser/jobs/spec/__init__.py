"""What decides the result of a job: its options, resolved against image, model and device."""
