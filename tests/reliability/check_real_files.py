"""Check that denoising keeps the metadata of each image in a folder, by the command, to OME-Zarr and OME-TIFF.

    python -m tests.reliability.check_real_files FOLDER [--model MODEL]

Shape, axes, dtype, pixel size, units, channel names and RGB must be kept; shape and dtype are also read by zarr and
tifffile, independently of our reader. Pixels are not checked, so the default model is a small random one. Exits with 1
if anything was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import zarr

from masked_denoiser.cli.main import main as run_command
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source


def list_changes(before: Source, after: Source) -> Iterator[str]:
    """Yield what was changed; axes of length 1 are ignored."""

    def metadata(source: Source) -> dict[str, object]:
        sizes = {axis: n for axis, n in source.sizes.items() if n > 1}
        colour = next((axis for axis in "SC" if axis in sizes), "") if source.rgb else ""
        return {
            "axes": {("RGB" if axis == colour else axis): n for axis, n in sizes.items()},
            "dtype": source.dtype.newbyteorder("="),
            "rgb": source.rgb,
            "pixel size": {axis: float(f"{size:.6g}") for axis, size in source.pixel_size.items()},
            "units": dict(source.units),
            "channels": source.channel_names,
        }

    old, new = metadata(before), metadata(after)
    yield from (f"{key}: {old[key]} became {new[key]}" for key in old if old[key] != new[key])


def read_independently(path: Path) -> tuple[int, np.dtype[np.generic]]:
    """Return the number of samples and the dtype that zarr or tifffile reads."""
    if path.suffix == ".zarr":
        array = zarr.open_group(path, mode="r")["0"]
        assert isinstance(array, zarr.Array)
        return int(np.prod(array.shape)), array.dtype
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        return int(np.prod(tiff.series[0].shape)), tiff.series[0].dtype


def check(path: Path, model: str, folder: Path) -> list[str]:
    """Denoise one file to both formats and return what was lost."""
    faults: list[str] = []
    with open_image(path) as before:
        size = " ".join(f"{a}={v:.4g} {before.units.get(a, '')}".strip() for a, v in before.pixel_size.items())
        print(f"{path.name}: {before.axes} {before.shape} {before.dtype} {'RGB ' if before.rgb else ''}{size}")
        for suffix in (".ome.zarr", ".ome.tif"):
            output = folder / (path.stem + suffix)
            if code := run_command(["denoise", str(path), str(output), "--model", model, "--quiet"]):
                faults.append(f"{path.name} -> {suffix}: exit code {code}")
                continue
            with open_image(output) as after:
                changes = list(list_changes(before, after))
            if read_independently(output) != (int(np.prod(before.shape)), before.dtype.newbyteorder("=")):
                changes.append(f"zarr or tifffile reads {read_independently(output)}")
            print(f"  {suffix}: {'; '.join(changes) or 'all kept'}")
            faults += changes
    return faults


def main() -> int:
    """Check each file of the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="name or file (default: a small random network)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or str(Path(folder) / "tiny.safetensors")
        if not arguments.model:
            tiny_model().save(Path(model))
        faults = [fault for path in sorted(arguments.folder.iterdir()) for fault in check(path, model, Path(folder))]
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
