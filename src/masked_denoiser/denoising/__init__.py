"""From a source to a sink: job, intensity, network on a device, journal, and the pipeline that runs them."""
