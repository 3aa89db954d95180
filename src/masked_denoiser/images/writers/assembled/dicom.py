"""DICOM sink: a folder with a derived image for each file of a DICOM input (pydicom)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRBigEndian

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.medical.dicom_frames import Arrangement, Frame
from masked_denoiser.images.readers.medical.dicom_headers import (
    has_preamble,
    read_header,
    read_without_preamble,
    syntax_of,
)
from masked_denoiser.images.readers.medical.dicom_series import arrangement_of
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.assembled.dicom_elements import derive, set_colour
from masked_denoiser.images.writers.assembled.sink import AssembledSink
from masked_denoiser.images.writers.base import ProgressCallback
from masked_denoiser.images.writers.derived_folder import write_listing
from masked_denoiser.images.writers.layout import Layout

Array = np.ndarray[Any, Any]


class DicomSink(AssembledSink):
    """A sink that writes a derived series: the elements of each original file with other pixels.

    Its files are named by their order, as names of originals may identify a patient.
    """

    @classmethod
    def check(cls, source: Source, layout: Layout) -> None:
        """Check that the source is all of a DICOM file or series, whose values its elements can store.

        Raises:
            ImageError: with the format to write instead.
        """
        if source.path is None or not source.modality or source.reader:
            raise ImageError(
                f"{source.where}: DICOM is written only for DICOM images, whose elements it keeps; write to .nii.gz or "
                ".ome.zarr"
            )
        if not layout.keeps_dtype:
            raise ImageError("DICOM stores the integers of the original; leave out --dtype, or write to .nii.gz")
        header = read_header(arrangement_of(source.path, source.part).frames[0].path)
        if "BitsStored" not in header or syntax_of(header) == ExplicitVRBigEndian:
            raise ImageError(
                f"{source.where}: its floating-point or big-endian pixels cannot be written as DICOM; write to .nii.gz"
            )
        if source.selection or source.requested_axes:
            raise ImageError(
                f"{source.where}: a part of a DICOM image, or one with other axes, cannot be written as DICOM; leave "
                "out --select and --axes, or write to .nii.gz"
            )

    def _assemble(self, path: Path, progress: ProgressCallback) -> None:
        assert self._source.path is not None  # by `check`
        arrangement = arrangement_of(self._source.path, self._source.part)
        sizes = self._source.sizes
        if len(arrangement.frames) != sizes.get("T", 1) * sizes.get("Z", 1):
            raise ImageError(
                f"{self._source.where} has other slices than when the job started; restore them, then --resume"
            )
        path.mkdir()
        files = list(dict.fromkeys(frame.path for frame in arrangement.frames))
        digits = max(4, len(str(len(files))))
        for number, original in enumerate(files, start=1):
            progress((number - 1) / len(files))
            dataset = self._derived(original, number, arrangement)
            name = path / f"{number:0{digits}}.dcm"
            pydicom.dcmwrite(name, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
        write_listing(path, self._attributes)

    def _derived(self, original: Path, number: int, arrangement: Arrangement) -> pydicom.Dataset:
        """Return the data set of one output file."""
        dataset = pydicom.dcmread(original) if has_preamble(original) else read_without_preamble(original)
        frames = {
            f.index: (f, self._of_frame(at, arrangement))
            for at, f in enumerate(arrangement.frames)
            if f.path == original
        }
        derive(dataset, self._attributes, number, anonymize=self._anonymizes)
        pixels = [_stored(dataset, *frames[index]) for index in sorted(frames)]
        if pixels[0].ndim == 3:
            set_colour(dataset, pixels[0].dtype.itemsize * 8)
        data = np.stack(pixels) if len(pixels) > 1 else pixels[0]
        dataset.PixelData = _even(np.ascontiguousarray(data, data.dtype.newbyteorder("<")).tobytes())
        dataset["PixelData"].VR = "OW" if data.dtype.itemsize > 1 else "OB"
        return dataset

    def _of_frame(self, at: int, arrangement: Arrangement) -> Array:
        """Return the result of a frame, by its position in the order of T and Z."""
        time, plane = divmod(at, arrangement.planes)
        index = {"T": time, "Z": plane}
        if "Z" not in self._source.axes:
            index["T"] = at
        return self._plane(index)


def _stored(dataset: pydicom.Dataset, frame: Frame, values: Array) -> Array:
    """Return values of the modality as the elements of a file store them, within its bits."""
    if values.ndim == 3:
        return values
    bits, signed = int(dataset.get("BitsStored") or dataset.BitsAllocated), bool(dataset.PixelRepresentation)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    stored = (values.astype(np.float64) - frame.intercept) / frame.slope
    dtype = np.dtype(f"{'i' if signed else 'u'}{int(dataset.BitsAllocated) // 8}")
    return np.clip(np.rint(stored), low, high).astype(dtype)


def _even(data: bytes) -> bytes:
    """Return bytes with a padding byte if their number is odd (DICOM PS3.5, 8.1.1)."""
    return data + b"\0" * (len(data) % 2)
