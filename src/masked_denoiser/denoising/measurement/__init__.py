"""Parts of the noise measurement: the sample of an image, its modality, and what follows from that."""
