"""Readers of other packages: plugins of napari (npe2) and readers of bioio, without napari and Qt."""
