"""Messages to the user, and the text in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Characters that UTF-8, and others that XML 1.0 cannot hold (https://www.w3.org/TR/xml/#charsets).
_SURROGATES = re.compile("[\ud800-\udfff]")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True)
class Message:
    """Sentence for the user."""

    text: str


def readable_time(seconds: float) -> str:
    """Return a duration as text such as "8 s", "3 min 20 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clean_text(text: str) -> str:
    """Return text that UTF-8 and XML 1.0 can hold: without control characters, and U+FFFD for lone surrogates.

    Python reads the bytes of file names that are not UTF-8 as surrogates.
    """
    return _FORBIDDEN.sub("", _SURROGATES.sub("\ufffd", text))
