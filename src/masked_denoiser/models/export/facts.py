"""What an exported file says about its model."""

from __future__ import annotations

from masked_denoiser.models.card import Card
from masked_denoiser.version import DISTRIBUTION, program_version

#: How the image of an exported model is described.
IMAGE = "float32 [batch, channels, height, width], any height and width; 0 is black and 1 is white"

#: How the standard deviation of the noise is described.
NOISE_STD = (
    "float32 [batch or 1, 1, height or 1, width or 1]: standard deviation of the noise, in units of the image; 0, the "
    "default, where it is not known"
)


def facts(card: Card, noise_input: bool) -> dict[str, str]:
    """Return what an exported file says about its model, as text by name.

    Args:
        card: of the model.
        noise_input: whether the file can be given the standard deviation of the noise.
    """
    config = card.architecture
    values = {
        "name": card.name,
        "description": card.description,
        "licence": card.licence,
        "source": card.source,
        "model_version": card.version,
        "channels": "3 (red, green, blue)" if config.channels == 3 else "1 (each channel of an image by itself)",
        "input image": IMAGE,
        "output denoised": "float32, of the shape of image; not clipped",
        "padding": f"by reflection to multiples of {config.grid} pixels, and cropping, inside the model",
        "program": f"{DISTRIBUTION} {program_version()}",
        "card": card.to_json(),
    }
    if noise_input:
        values["input noise_std"] = NOISE_STD
    if config.attention_mask:
        values["attention mask"] = (
            f"{config.attention_mask:.0%} of the tokens, by their position in the image that is given, as in the "
            "first pass of this program with seed 0"
        )
    return values
