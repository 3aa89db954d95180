"""JSON that somebody else may have written: whatever is wrong with it ends in a ValueError.

Python's own reader lets three things through that hurt later: nesting that ends in a RecursionError, integers that fit
no float, and halves of UTF-16 pairs that cannot be printed.
"""

from __future__ import annotations

import json
from typing import Any

#: Bytes of a text; a journal, which grows with the image, is read line by line.
MOST_BYTES = 64 * 2**20

_LARGEST = 2**64


def parse_json(text: str | bytes, most: int = MOST_BYTES) -> Any:
    """The values of a JSON text.

    Args:
        text: UTF-8 where it is bytes.
        most: how long it may be.

    Raises:
        ValueError: if it is too long, no JSON, nested too deeply, or holds an integer of more than 64 bits or text that
            is no Unicode.
    """
    if len(text) > most:
        raise ValueError(f"it has {len(text)} bytes, and {most} are allowed")
    whole = text.decode() if isinstance(text, bytes) else text
    try:
        values = json.loads(whole, parse_int=_integer)
        if "\\ud" in whole.lower():
            json.dumps(values, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error
    return values


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > _LARGEST:
        raise ValueError(f"the number {digits[:20]}... does not fit into 64 bits")
    return int(digits)
