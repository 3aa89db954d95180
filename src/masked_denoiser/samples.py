"""The sample images that come with the package."""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.errors import UnknownSampleError

_PACKAGED = Path(__file__).parent / "sample_data"
_CHECKOUT = Path(__file__).parents[2] / "sample_data"

#: Name of a sample to its file. What they are, and how they were made: `sample_data/README.md`.
SAMPLES = {
    "slide": "slide.ome.tif",
    "slide-clean": "slide_clean.ome.tif",
    "fluorescence": "fluorescence.ome.tif",
}


def sample_path(name: str) -> Path:
    """Where a sample image lies: in the installed package, else in the checkout.

    Args:
        name: one of `SAMPLES`, or the name of its file.

    Raises:
        UnknownSampleError: there is no such sample.
    """
    file = SAMPLES.get(name, name)
    if file not in SAMPLES.values():
        raise UnknownSampleError(f"no sample is named {name!r}; there are {', '.join(SAMPLES)}")
    packaged = _PACKAGED / file
    return packaged if packaged.exists() else _CHECKOUT / file
