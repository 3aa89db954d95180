"""The napari side: docks, reader, writer, samples. The only place that knows napari and Qt."""
