"""Names of the precisions in which a network computes. This module imports nothing heavy."""

from __future__ import annotations

from typing import Literal

#: Precision of matrix products and convolutions; norms and softmax stay in float32.
Precision = Literal["float32", "bfloat16", "float16"]

#: Precision that a user may request; "auto" is the fastest on the device.
RequestedPrecision = Literal["auto", "float32", "bfloat16", "float16"]
