"""Modalities: what is known of the noise of a kind of image before it is measured."""
