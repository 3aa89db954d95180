"""Small real job for failure tests."""

import hashlib
from pathlib import Path

import numpy as np
import zarr

from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.jobs.spec.options import Options

OPTIONS = Options(noise="none", tile=32, halo=8)


def make_input(folder, side=128, chunk=32):
    """Write a zarr of RGB noise and a tiny model, and return the path of the zarr."""
    array = zarr.create_array(
        folder / "in.zarr",
        shape=(side, side, 3),
        chunks=(chunk, chunk, 3),
        dtype="uint8",
        dimension_names=["y", "x", "s"],
        compressors=zarr.codecs.ZstdCodec(checksum=True),
    )
    array[:] = np.random.default_rng(0).integers(0, 256, array.shape).astype(np.uint8)
    tiny_model().save(folder / "tiny.safetensors")
    return folder / "in.zarr"


def fingerprint(output):
    """Return the SHA-256 of the names and bytes of all files of an output."""
    output = Path(output)
    files = [output] if output.is_file() else sorted(p for p in output.rglob("*") if p.is_file())
    sha = hashlib.sha256()
    for file in files:
        sha.update(str(file.relative_to(output)).encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()


def leftovers(output):
    """Return the names of temporary files next to an output."""
    return sorted(p.name for p in output.parent.glob(f"{output.name}.*"))
