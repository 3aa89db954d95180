"""Check of compound files (OLE), whose sectors are linked lists that a damaged file may close to circles.

See [MS-CFB] of Microsoft, 2.2 to 2.5: https://learn.microsoft.com/openspecs/windows_protocols/ms-cfb.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from masked_denoiser.errors import ImageError

_HEADER_BYTES = 512
#: Sector numbers above are marks: end of a chain, free and reserved sectors.
_LARGEST_SECTOR = 0xFFFFFFFA
_SECTORS_IN_HEADER = 109


def check_compound_file(path: Path) -> None:
    """Raise an error for a compound file whose sectors form circles, which a reader would follow without end.

    Raises:
        ImageError: if they do, or its table of sectors is larger than the file or missing.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            raise _broken(path, "its header is truncated")
        sector_bytes = 2 ** min(16, struct.unpack_from("<H", header, 30)[0])
        tables, _, _, _, small_start, small_count, more_start, more_count = struct.unpack_from("<8I", header, 44)
        if max(tables, small_count, more_count) > size // sector_bytes:
            raise _broken(path, "its table of sectors is larger than the file")

        def read(sector: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
            file.seek((sector + 1) * sector_bytes)
            content = file.read(sector_bytes)
            if len(content) < sector_bytes:
                raise _broken(path, f"sector {sector} is missing")
            return np.frombuffer(content, "<u4")

        listed = list(struct.unpack_from(f"<{_SECTORS_IN_HEADER}I", header, 76))
        sector = more_start
        for _ in range(more_count):
            entries = read(sector).tolist()
            listed += entries[:-1]
            sector = entries[-1]
        links = _joined(read(number) for number in listed[:tables])
        _check_chains(path, links)
        small = _joined(read(number) for number in _chain(small_start, links, small_count))
        _check_chains(path, small)


def _joined(parts: Iterator[np.ndarray[tuple[int], np.dtype[np.uint32]]]) -> list[int]:
    return [number for part in parts for number in part.tolist()]


def _chain(start: int, links: Sequence[int], count: int) -> Iterator[int]:
    """Yield the sectors of a chain, at most `count`."""
    at = start
    for _ in range(count):
        if at >= len(links):
            return
        yield at
        at = links[at]


def _check_chains(path: Path, links: Sequence[int]) -> None:
    """Check that every chain ends: follow each, and stop at sectors that an earlier one has visited."""
    visited_by = [-1] * len(links)
    for start in range(len(links)):
        at = start
        while at < len(links) and visited_by[at] < 0:
            visited_by[at] = start
            at = links[at]
        if at < len(links) and visited_by[at] == start and at <= _LARGEST_SECTOR:
            raise _broken(path, f"its sectors form a circle at {at}")


def _broken(path: Path, reason: str) -> ImageError:
    return ImageError(f"{path}: is a broken compound file ({reason}); copy or export it again")
