"""Job specification: options, resolved against image, model and device, and the resulting job."""
