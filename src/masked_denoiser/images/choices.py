"""Words that users choose between, without the libraries behind them."""

from __future__ import annotations

from typing import Literal

#: Grouping of channels: "auto" takes RGB as one plane and other channels separately; "rgb" and "each" force either.
Channels = Literal["auto", "rgb", "each"]


#: Versions of OME-Zarr that can be written.
OmeZarr = Literal["0.4", "0.5"]
