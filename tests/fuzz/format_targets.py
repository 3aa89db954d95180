"""The fuzzing targets of the readers of file formats, whose valid trees are the samples of their contract tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from masked_denoiser.images.locator import join_locator
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.readers.registry import find_reader
from tests.fuzz import mutate
from tests.fuzz.run import Target, Tree
from tests.images.readers.samples.table import SAMPLES

#: Names of samples by target, and the number of first bytes that hold most metadata. The samples of HDF5 have no
#: attributes of variable length: HDF5's own library follows a damaged heap of them without end.
_FAMILIES: dict[str, tuple[tuple[str, ...], int]] = {
    "dicom": (("dicom", "compressed dicom"), 1200),
    "nifti": (("nifti", "nifti.gz"), 400),
    "mrc": (("mrc volume", "mrc volumes", "mrc.gz"), 1100),
    "numpy": (("npy", "npy in columns, big endian", "npz"), 128),
    "hdf5": (("hdf5 without axes",), 6000),
    "imaris": (("imaris",), 20_000),
    "zip": (("zipped zarr",), 1000),
    "bmp-gif": (("bmp", "gif"), 800),
    "nd2": (("nd2", "compressed nd2"), 4200),
    "czi": (("czi",), 800),
    "lif": (("lif", "colour lif"), 6000),
    "oib": (("oib",), 2000),
    "oif": (("oif",), 1500),
}


def format_targets() -> dict[str, Callable[[], Target]]:
    """Return a target for each family of formats by its name."""
    return {name: _target(name, samples, head) for name, (samples, head) in _FAMILIES.items()}


def _target(name: str, samples: Sequence[str], head: int) -> Callable[[], Target]:
    def make() -> Target:
        return Target(name, lambda: [_tree(sample) for sample in samples], lambda _: _anywhere(head), _use)

    return make


def _anywhere(head: int) -> mutate.Mutate:
    """Return a mutation of the first bytes, the last ones, where some formats have their directory, or any."""

    def change(random: Random, data: bytes) -> bytes:
        if random.random() < 0.4:
            return data[:-head] + mutate.any_bytes(random, data[-head:])
        return mutate.head_of(head)(random, data)

    return change


def _tree(sample: str) -> Tree:
    """Return the files of a sample, first the one to open."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = SAMPLES[sample].make(root)
        files = {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
        return {path.name: files.pop(path.name), **files}


def _use(folder: Path) -> None:
    """Open every image of a file, up to four, and read corners of its levels as a job would."""
    path = next(file for file in folder.iterdir() if file.is_file() and not file.name.endswith(".making"))
    reader = find_reader(path)
    parts = reader.list_parts(path)[:4] if reader is not None else []
    for part in parts or [""]:
        with open_image(join_locator(path, part)) as source:
            for level in range(len(source.levels)):
                with open_image(join_locator(path, part), level=level, axes=source.axes) as found:
                    plane = next(iter(list_planes(found.axes, found.sizes, found.rgb)))
                    height, width = found.size_yx
                    found.read(plane, slice(0, min(height, 20)), slice(0, min(width, 20)))
                    found.read(plane, slice(max(0, height - 9), height), slice(max(0, width - 9), width))
