"""A reader of bioio for a format of these tests: scenes with levels, pixel sizes, units and channel names."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr
from bioio_base.dimensions import Dimensions
from bioio_base.reader import Reader as BaseReader
from bioio_base.reader_metadata import ReaderMetadata as BaseMetadata
from bioio_base.types import DimensionProperties, DimensionProperty, PhysicalPixelSizes

SCENES = ("left", "right")


def pixels(scene, level=0):
    """Return the pixels of a scene as [C, Z, Y, X]."""
    drawn = np.random.default_rng(scene).integers(0, 999, (2, 3, 40, 48), dtype=np.uint16)
    return drawn[..., :: 2**level, :: 2**level]


class Reader(BaseReader):
    def __init__(self, image, **kwargs):
        self._path = str(image)
        self.is_supported_image(image)

    @staticmethod
    def _is_supported_image(fs, path, **kwargs):
        with fs.open(path) as file:
            if file.read(3) != b"FOO":
                raise ValueError("no foo")
        return True

    @property
    def scenes(self):
        return SCENES

    @property
    def resolution_levels(self):
        return (0, 1)

    def _read_delayed(self):
        array = pixels(self.current_scene_index, self.current_resolution_level)
        data = da.from_array(array, chunks=(1, 1, 16, 48))
        return xr.DataArray(data, dims=list("CZYX"), coords={"C": ["DAPI", "GFP"]})

    def _read_immediate(self):
        return self._read_delayed().compute()

    @property
    def physical_pixel_sizes(self):
        return PhysicalPixelSizes(Z=2.0, Y=0.5, X=0.25)

    @property
    def dimension_properties(self):
        micrometers = DimensionProperty(type="space", unit="micrometer")
        unknown = DimensionProperty(type=None, unit=None)
        return DimensionProperties(T=unknown, C=unknown, Z=micrometers, Y=micrometers, X=micrometers)

    @property
    def dims(self):
        return Dimensions(list("CZYX"), self.shape)


class ReaderMetadata(BaseMetadata):
    @staticmethod
    def get_supported_extensions():
        return ["foo"]

    @staticmethod
    def get_reader():
        return Reader
