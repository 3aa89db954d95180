"""Fine structure and noise shared by channels or neighbouring planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masked_denoiser.noise.blocks import BLOCK, MARGIN, Values, blocks_of, residual

#: Channels share fine structure if less than this share of the residual of the most structured blocks is independent.
_MAX_INDEPENDENT_SHARE = 0.5

#: Blocks with less than this share of the median residual are constant.
_MIN_RESIDUAL_SHARE = 0.02


def independent_share(stacks: Sequence[Values], dilation: int, *, flat: bool = True) -> Values:
    """Return the share of the residual of each channel that the other channels do not explain, [channels].

    The share of independent noise is 1, that of texture that all channels share with the colour of a stain is near 0.

    Args:
        stacks: [channels, H, W] each: red, green and blue, or the same region of neighbouring planes.
        dilation: dilation of the mask in pixels.
        flat: whether to measure on the blocks with the smallest residuals instead of the largest.
    """
    covariances = [
        c for stack in stacks if min(stack.shape[1:]) >= BLOCK + 2 * MARGIN for c in _block_covariances(stack, dilation)
    ]
    channels = len(stacks[0])
    if not covariances:
        return np.ones(channels)
    stacked = np.array(covariances)
    total = np.trace(stacked, axis1=1, axis2=2)
    # Constant blocks, such as compressed blank paper, have no information.
    usable_blocks = np.flatnonzero(total > _MIN_RESIDUAL_SHARE * np.median(total))
    order = usable_blocks[np.argsort(total[usable_blocks], kind="stable")]
    if not order.size:
        return np.ones(channels)
    count = max(6, order.size // 4)
    covariance = stacked[order[:count] if flat else order[-max(6, count // 5) :]].mean(axis=0)
    variances = np.diag(covariance)
    usable = variances > 1e-12 * max(float(variances.max()), 1e-300)
    shares = np.ones(channels)
    if usable.sum() > 1:
        submatrix = covariance[np.ix_(usable, usable)]
        regularized = submatrix + 1e-6 * np.diag(np.diag(submatrix))
        shares[usable] = 1.0 / np.diag(np.linalg.inv(regularized)) / np.diag(regularized)
    return np.clip(shares, 0.0, 1.0)


def channels_share_structure(stacks: Sequence[Values], dilation: int) -> bool:
    """Return whether channels share fine structure, as in photographs and stained tissue.

    In fluorescence images they do not: independent residuals may be structure as well as noise.

    Args:
        stacks: [channels, H, W] each.
        dilation: dilation of the mask in pixels.
    """
    return bool(independent_share(stacks, dilation, flat=False).max() < _MAX_INDEPENDENT_SHARE)


def _block_covariances(stack: Values, dilation: int) -> Values:
    """Return the covariances of the residuals of the channels in each block, [blocks, channels, channels]."""
    response = residual(stack, dilation)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    blocks = np.stack([blocks_of(channel) for channel in response], axis=1)
    return np.asarray(blocks @ blocks.transpose(0, 2, 1) / blocks.shape[2])
