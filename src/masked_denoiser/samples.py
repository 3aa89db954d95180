"""Sample images that come with the package."""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.errors import UnknownSampleError

_PACKAGE_FOLDER = Path(__file__).parent / "sample_data"
_CHECKOUT_FOLDER = Path(__file__).parents[2] / "sample_data"

#: File of each sample by its name; `sample_data/README.md` describes the images and how they were made.
SAMPLES = {
    "slide": "slide.ome.tif",
    "slide-clean": "slide_clean.ome.tif",
    "fluorescence": "fluorescence.ome.tif",
}


def sample_path(name: str) -> Path:
    """Return the path of a sample image, in the installed package or else in the checkout.

    Args:
        name: one of `SAMPLES`, or the name of its file.

    Raises:
        UnknownSampleError: if there is no such sample.
    """
    file = SAMPLES.get(name, name)
    if file not in SAMPLES.values():
        raise UnknownSampleError(f"there is no sample {name!r}; choose one of: {', '.join(SAMPLES)}")
    packaged = _PACKAGE_FOLDER / file
    return packaged if packaged.exists() else _CHECKOUT_FOLDER / file
