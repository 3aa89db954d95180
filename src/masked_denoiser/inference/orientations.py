"""The eight flips and rotations of an image, as the passes of networks without masks.

Their mean is slightly better than a single result (the self-ensemble of Timofte et al., CVPR 2016), and their spread
tells where the network is unsure.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Number of orientations.
ORIENTATIONS = 8


def orient(images: Tensor, number: int) -> Tensor:
    """Return images [..., H, W] in an orientation; number 0 leaves them as they are."""
    flipped = images.flip(-1) if number >= ORIENTATIONS // 2 else images
    return torch.rot90(flipped, number % 4, (-2, -1))


def restore(images: Tensor, number: int) -> Tensor:
    """Return images [..., H, W] in their original orientation: the inverse of `orient`."""
    rotated = torch.rot90(images, -(number % 4), (-2, -1))
    return rotated.flip(-1) if number >= ORIENTATIONS // 2 else rotated
