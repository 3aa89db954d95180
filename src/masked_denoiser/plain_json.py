"""Parser for untrusted JSON that reports every defect as a ValueError.

Python's own parser lets three defects through that fail later: nesting that ends in a RecursionError, integers that fit
no float, and unpaired UTF-16 surrogates, which cannot be printed.
"""

from __future__ import annotations

import json
from typing import Any

#: Default limit of the length of a text; a journal, which grows with the image, is parsed line by line.
MAX_BYTES = 64 * 2**20

_MAX_INTEGER = 2**64


def parse_json(text: str | bytes, max_bytes: int = MAX_BYTES) -> Any:
    """Return the values of a JSON text.

    Args:
        text: JSON; bytes are decoded as UTF-8.
        max_bytes: largest accepted length.

    Raises:
        ValueError: if the text is too long, not JSON or nested too deeply, or contains an integer of more than 64 bits
            or an unpaired surrogate.
    """
    if len(text) > max_bytes:
        raise ValueError(f"it has {len(text)} bytes; at most {max_bytes} are allowed")
    decoded = text.decode() if isinstance(text, bytes) else text
    try:
        values = json.loads(decoded, parse_int=_parse_integer)
        if "\\ud" in decoded.lower():
            json.dumps(values, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error
    return values


def _parse_integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > _MAX_INTEGER:
        raise ValueError(f"the number {digits[:20]}... does not fit into 64 bits")
    return int(digits)
