"""Header of an MRC output: that of an MRC input, whose pixels keep their place in the cell.

See https://www.ccpem.ac.uk/mrc_format/mrc2014.php.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mrcfile
from mrcfile.utils import spacegroup_is_volume_stack

from masked_denoiser.images.readers.registry import find_reader
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.assembled.first_pixel import first_pixel


def header_of_input(source: Source) -> Any:
    """Return the header of the MRC file that a source was read from; None for other images."""
    path = source.path
    if path is None or source.reader or not path.is_file():
        return None
    reader = find_reader(path)
    if reader is None or reader.module != "electron.mrc":
        return None
    with mrcfile.open(path, header_only=True) as file:
        return file.header.copy()


def copy_place(header: Any, template: Any, source: Source, sizes: Mapping[str, int]) -> None:
    """Copy the cell, the order of its axes, the place of the pixels in it and the kind of image.

    Columns, rows and sections stay those of the input, also where they run along other axes than X, Y and Z of the
    cell. The start and the origin are moved to the first pixel if the source is a part of the file.

    Args:
        header: of the output, with the number of its pixels.
        template: of the input.
        source: the image.
        sizes: axis letter to length, of the output.
    """
    order = [int(template[name]) for name in ("mapc", "mapr", "maps")]
    if sorted(order) != [1, 2, 3]:  # the reader takes them in this order, too
        order = [1, 2, 3]
    if "T" in sizes and order[2] != 3:  # sections of a stack count along Z of the cell
        return
    header.mapc, header.mapr, header.maps = order
    header.cellb = template.cellb
    if source.requested_axes is None:
        header.ispg = template.ispg
    starts = first_pixel(source)
    names = {letter: "xyz"[axis - 1] for letter, axis in zip("XYZ", order, strict=True)}
    for letter, name in names.items():
        _copy_sampling(header, template, name, sizes.get(letter, 1), _is_sampled_by(letter, name, template, source))
        field = f"n{letter.lower()}start"
        header[field] = int(template[field]) + starts.get(letter, 0)
    _copy_origin(header, template, {name: starts.get(letter, 0) for letter, name in names.items()})


def _is_sampled_by(letter: str, name: str, template: Any, source: Source) -> bool:
    """Return whether the cell of the input is as long as its pixels, rather than that of a crystal they are part of."""
    sections = template.mz if spacegroup_is_volume_stack(template.ispg) or template.mz == 1 else template.nz
    count = {"X": template.nx, "Y": template.ny, "Z": sections}[letter]
    return source.requested_axes is not None or template[f"m{name}"] in (count, 0)


def _copy_sampling(header: Any, template: Any, name: str, count: int, own: bool) -> None:
    """Copy the side of the cell and the number of pixels along it; for a cell of its own, those of `count` pixels."""
    sampling, side = int(template[f"m{name}"]), float(template.cella[name])
    header[f"m{name}"] = count if own else sampling
    header.cella[name] = _step(template, name) * count if own else side


def _copy_origin(header: Any, template: Any, starts: Mapping[str, int]) -> None:
    origin = {name: float(template.origin[name]) for name in "xyz"}
    if not any(origin.values()):  # then the start of the columns, rows and sections states the place
        return
    moved = {name: at + starts[name] * _step(template, name) for name, at in origin.items()}
    for name, at in moved.items():
        header.origin[name] = at
    if not any(moved.values()):
        header.nxstart = header.nystart = header.nzstart = 0


def _step(template: Any, name: str) -> float:
    """Return the voxel size along an axis of the cell in angstrom; 0 if the file does not state it."""
    sampling = int(template[f"m{name}"])
    return float(template.cella[name]) / sampling if sampling > 0 else 0.0


def labels_of(template: Any, own: tuple[str, ...], most: int) -> list[str]:
    """Return the labels of an input, at most this number, without those that begin like our own."""
    labels = [bytes(label).decode("ascii", "replace").strip() for label in template.label]
    return [label for label in labels if label and not label.startswith(own)][:most]
