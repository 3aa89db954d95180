"""A small real job, for tests of what can go wrong with one."""

import hashlib
from pathlib import Path

import numpy as np
import zarr

from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.jobs.spec.options import Options

OPTIONS = Options(noise="none", tile=32, halo=8)


def make_input(folder, side=128, chunk=32):
    """A zarr of RGB noise, and a tiny model, as files."""
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
    """Of all files of an output, names and bytes."""
    output = Path(output)
    files = [output] if output.is_file() else sorted(p for p in output.rglob("*") if p.is_file())
    sha = hashlib.sha256()
    for file in files:
        sha.update(str(file.relative_to(output)).encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()


def leftovers(output):
    """What lies beside an output and should not once it is complete."""
    return sorted(p.name for p in output.parent.glob(f"{output.name}.*"))
