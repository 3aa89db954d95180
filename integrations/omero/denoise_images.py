"""Denoise images of an OMERO server into new images of the same dataset (for `omero script upload`).

The environment in which the server's processor runs scripts must have masked-denoiser (without extras). An image is
held in memory; download large ones, and use the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import masked_denoiser as md

_AXES = "ZCTYX"


def planes(image: Any) -> NDArray[Any]:
    """Return the pixels of an image of the gateway, [Z, C, T, Y, X]."""
    shape = (image.getSizeZ(), image.getSizeC(), image.getSizeT())
    positions = list(np.ndindex(*shape))
    stack = np.stack(list(image.getPrimaryPixels().getPlanes(positions)))
    return stack.reshape(*shape, *stack.shape[1:])


def in_order(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the planes [Y, X] in the order that createImageFromNumpySeq expects: Z slowest, T fastest."""
    for position in np.ndindex(*pixels.shape[:3]):
        yield pixels[position]


def denoise_image(gateway: Any, image: Any, options: dict[str, Any]) -> Any:
    """Denoise an image, and return the new image with the channels of its source, in its dataset if it has one.

    The result of an image of a plate, whose parent is the sample of a well, is in no dataset.
    """
    pixels, parent = planes(image), image.getParent()
    result = md.denoise(pixels, axes=_AXES, **options)
    sizes = pixels.shape[:3]
    return gateway.createImageFromNumpySeq(
        in_order(result),
        f"{image.getName()} denoised",
        *sizes,
        description=f"Denoised by masked-denoiser from image {image.getId()}",
        dataset=parent if parent is not None and parent.OMERO_CLASS == "Dataset" else None,
        sourceImageId=image.getId(),
    )


def main() -> None:
    """Run as a script of the server."""
    import omero.scripts as scripts  # only where a server runs it
    from omero.gateway import BlitzGateway
    from omero.rtypes import rlong, rstring

    client = scripts.client(
        "Denoise_Images.py",
        "Denoise images into new images of the same dataset.",
        scripts.String("Data_Type", optional=False, values=[rstring("Image")], default="Image"),
        scripts.List("IDs", optional=False, description="IDs of the images").ofType(rlong(0)),
        scripts.String("Model", default="auto", description="name of a model: masked-denoiser models list"),
        scripts.String("Noise", default="auto", description="auto, none, or noise in units of the image"),
    )
    try:
        parameters = client.getInputs(unwrap=True)
        gateway = BlitzGateway(client_obj=client)
        options = {"model": parameters.get("Model", "auto"), "noise": parameters.get("Noise", "auto")}
        images = gateway.getObjects("Image", parameters["IDs"])
        names = [denoise_image(gateway, image, options).getName() for image in images]
        client.setOutput("Message", rstring(f"Denoised {len(names)} images: {', '.join(names)}"))
    finally:
        client.closeSession()


if __name__ == "__main__":
    main()
