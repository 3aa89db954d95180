"""In which precision a network computes: the words for it, without anything heavy."""

from __future__ import annotations

from typing import Literal

#: Of matrix products and convolutions; norms and softmax stay in float32.
Precision = Literal["float32", "bfloat16", "float16"]

#: What a user may ask for: "auto" is what is fastest on the device.
AskedPrecision = Literal["auto", "float32", "bfloat16", "float16"]
