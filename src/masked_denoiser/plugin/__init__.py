"""The napari plugin: docks, reader, writer and sample data. The only package that imports napari and Qt."""
