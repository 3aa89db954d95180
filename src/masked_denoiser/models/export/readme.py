"""Documentation inside a package of bioimage.io."""

from __future__ import annotations

from masked_denoiser.models.export.check import TOLERANCE
from masked_denoiser.models.export.onnx_file import OPSET
from masked_denoiser.models.file import Model

_RGB_INTENSITY = """The input is an RGB image of 8 bits: 0 to 255 become 0 to 1. For other depths, scale to 0 to 255
first. The output is float32, 0 to 255."""

_GRAY_INTENSITY = """The input is one channel of any depth: each channel of an image is denoised by itself. Its
percentiles {low:g} and {high:g} become 0 and 1. The output is float32 in these units; multiply it by the difference
of the percentiles of the input, and add the lower one, to return to intensities."""

_MASK = """
The network masks {share:.0%} of its tokens before each attention, by their position in the image that it is given.
The same position in another tile gets another mask, so results of neighbouring tiles differ slightly where they meet.
"""

_NOISE = """
The network can be given the strength of the noise. In this package it is not, since most programs give a model one
image: it judges the noise by itself.
"""


def readme(model: Model, percentiles: tuple[float, float]) -> str:
    """Return the text of README.md."""
    card, (low, high) = model.card, percentiles
    intensity = _RGB_INTENSITY if card.architecture.channels == 3 else _GRAY_INTENSITY.format(low=low, high=high)
    share = card.architecture.attention_mask
    data = "".join(f"- {text}\n" for text in card.data) or "- not recorded\n"
    noise_map = _NOISE if getattr(card.architecture, "noise_map", False) else ""
    recipe = card.training.get("recipe")
    noise = recipe.get("noise", "not recorded") if isinstance(recipe, dict) else "not recorded"
    return f"""# {card.name}

{card.description}

This package has the network alone. The program that trained it, napari-masked-denoiser, also measures the noise of an
image, and removes no more than it measured; other programs do not.

## Intensities

{intensity}
{noise_map}{_MASK.format(share=share) if share else ""}
## Sizes

Height and width may have any size: the network pads by reflection to multiples of {card.architecture.grid} pixels,
and crops. Tiles that begin at such multiples, with the halo that the description states, meet almost without a seam.

## Training

Noise: {noise}

Images:

{data}
Licence of the weights: {card.licence}. Origin: {card.source or "not recorded"}.

## Validation

The weights in TorchScript and in ONNX (opset {OPSET}) were compared with the network on images of three sizes when this
package was written; differences up to {TOLERANCE:g} of the range of intensities were accepted. To validate the model
on images of your own, compare its results for noisy images with clean images of the same places, by PSNR and SSIM.
"""
