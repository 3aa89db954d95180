"""MRC sink: MRC2014 with the voxel size, and of an MRC input its place in the cell and its labels.

It uses mrcfile. The format is described by Cheng et al., Journal of Structural Biology 192 (2015) 146-150.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.completeness import COMPLETE_KEY
from masked_denoiser.images.writers.assembled.mrc_header import copy_place, header_of_input, labels_of
from masked_denoiser.images.writers.assembled.mrc_statistics import Statistics
from masked_denoiser.images.writers.assembled.sink import AssembledSink
from masked_denoiser.images.writers.base import ProgressCallback
from masked_denoiser.images.writers.layout import Layout

#: Modes of MRC2014 by data type. It has no unsigned bytes, which are stored as uint16.
_MODES = {"int8": 0, "int16": 1, "float32": 2, "uint8": 6, "uint16": 6, "float16": 12}
#: Most labels of a header.
_MOST_LABELS = 10
_ANGSTROMS = {"angstrom": 1.0, "nanometer": 10.0, "micrometer": 1e4, "millimeter": 1e7}
#: Begin of the label of the header, of 80 characters, that states the job.
_LABEL = "denoised by job "
#: Begin of the labels that state the checksums of some pixels of its input, and of all.
_INPUT_LABEL, _PIXELS_LABEL = "of input ", "of input pixels "
#: Begin of the labels of files that are no results: noisy copies, and residuals.
_OTHER_LABELS = {"noise": "with synthetic noise ", "residual": "residual of "}
_LABELS = {"job": _LABEL, "input_pixels": _PIXELS_LABEL, "input": _INPUT_LABEL} | _OTHER_LABELS
_USE = "Research use only"


class MrcSink(AssembledSink):
    """A sink that writes an MRC file; a series along T is stored as a stack of images or volumes."""

    @classmethod
    def check(cls, source: Source, layout: Layout) -> None:
        """Check that MRC can store the data type, and that there are no colours.

        Raises:
            ImageError: that names the data types that MRC can store.
        """
        if "S" in layout.axes:
            raise ImageError("MRC has no colours; write to .ome.tif or .ome.zarr")
        if layout.dtype.name not in _MODES:
            raise ImageError(
                f"MRC cannot store {layout.dtype}, only {', '.join(_MODES)}; write to .ome.tif, or use --dtype float32"
            )

    def _assemble(self, path: Path, progress: ProgressCallback) -> None:
        layout = self._folder.layout
        times, planes = layout.sizes.get("T", 0), layout.sizes.get("Z", 0)
        shape = (*(side for side in (times, planes) if side), layout.sizes["Y"], layout.sizes["X"])
        total, statistics = max(1, times) * max(1, planes), Statistics()
        with mrcfile.new_mmap(path, shape, mrc_mode=_MODES[layout.dtype.name], overwrite=True) as file:
            self._describe(file, bool(times), bool(planes))
            pixels = file.data.reshape(total, *shape[-2:])
            for number in range(total):
                progress(number / total)
                plane = self._plane({"T": number // max(1, planes), "Z": number % max(1, planes)})
                pixels[number] = plane
                statistics.add(plane)
            _set_statistics(file.header, statistics)

    def _describe(self, file: Any, times: bool, planes: bool) -> None:
        """Set kind, voxel size, place and labels of the header."""
        if planes and not times:
            file.set_volume()
        elif times and not planes:
            file.set_image_stack()
        sizes = {a: self._angstroms(a) for a in "XYZ"}
        if sizes["X"] and sizes["Y"]:
            file.voxel_size = (sizes["X"], sizes["Y"], sizes["Z"] or 1.0)
        template = header_of_input(self._source)
        if template is None:
            self._set_origin(file.header)
        else:
            copy_place(file.header, template, self._source, self._folder.layout.sizes)
        file.header.label = b""
        file.header.nlabl = 0
        own = [f"{begin}{self._attributes[key]}"[:80] for key, begin in _LABELS.items() if key in self._attributes]
        keeps = template is not None and not self._anonymizes
        kept = labels_of(template, (*_LABELS.values(), _USE), _MOST_LABELS - 1 - len(own)) if keeps else []
        for label in (*kept, *own, _USE):
            file.add_label(label)

    def _set_origin(self, header: Any) -> None:
        """Set the place of the first pixel, where units are known."""
        for axis in "XYZ":
            factor = _ANGSTROMS.get(self._source.units.get(axis, ""), 0.0)
            header.origin[axis.lower()] = self._source.origin.get(axis, 0.0) * factor

    def _angstroms(self, axis: str) -> float:
        return self._source.pixel_size.get(axis, 0.0) * _ANGSTROMS.get(self._source.units.get(axis, ""), 0.0)


def _set_statistics(header: Any, statistics: Statistics) -> None:
    """Set the statistics of a header, which says that they are unknown where there is no finite pixel."""
    if statistics.count:
        header.dmin, header.dmax = statistics.low, statistics.high
        header.dmean, header.rms = statistics.mean, statistics.deviation


def read_mrc_attributes(path: Path) -> dict[str, Any]:
    """Return what an `MrcSink` stored of the job and its input, and that the file is complete; {} for other files.

    Raises:
        OSError, ValueError: if the file cannot be read.
    """
    with mrcfile.open(path, header_only=True) as file:
        labels = [str(label) for label in np.atleast_1d(file.get_labels())]
    found: dict[str, Any] = {}
    for label in labels:
        key = next((key for key, begin in _LABELS.items() if label.startswith(begin)), "")
        if key:
            found[key] = label.removeprefix(_LABELS[key]).strip()
    return found | ({COMPLETE_KEY: True} if "job" in found else {})
