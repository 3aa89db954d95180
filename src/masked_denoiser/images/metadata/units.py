"""Names of units: as OME-Zarr spells them, as OME-XML abbreviates them, and as other files do.

See https://www.openmicroscopy.org/Schemas/OME/2016-06 (`UnitsLength`, `UnitsTime`) and https://ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

import re

_PREFIXES = {
    "yotta": "Y", "zetta": "Z", "exa": "E", "peta": "P", "tera": "T", "giga": "G", "mega": "M", "kilo": "k",
    "hecto": "h", "": "", "deci": "d", "centi": "c", "milli": "m", "micro": "µ", "nano": "n", "pico": "p",
    "femto": "f", "atto": "a", "zepto": "z", "yocto": "y",
}  # fmt: skip
#: Symbols of OME-XML by name.
LENGTH_SYMBOLS = {f"{k}meter": f"{v}m" for k, v in _PREFIXES.items()} | {
    "angstrom": "Å", "inch": "in", "foot": "ft", "yard": "yd", "mile": "mi", "parsec": "pc", "pixel": "pixel",
}  # fmt: skip
TIME_SYMBOLS = {f"{k}second": f"{v}s" for k, v in _PREFIXES.items()} | {"minute": "min", "hour": "h", "day": "d"}

_EXPONENTS = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "": 0, "d": -1, "c": -2, "m": -3,
    "µ": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_METERS = {f"{name}meter": 10.0 ** _EXPONENTS[symbol] for name, symbol in _PREFIXES.items()} | {
    "angstrom": 1e-10, "inch": 0.0254, "foot": 0.3048, "yard": 0.9144, "mile": 1609.344,
}  # fmt: skip
_NAME_BY_SYMBOL = {symbol: name for name, symbol in (LENGTH_SYMBOLS | TIME_SYMBOLS).items() if name != "pixel"}
_ALIASES = {
    "micrometer": ("um", "\\u00b5m", "micron"),
    "microsecond": ("us", "usec"),
    "angstrom": ("å", "ångström"),
    "inch": ("inches", '"'),
    "second": ("sec",),
    "millisecond": ("msec",),
    "nanosecond": ("nsec",),
    "hour": ("hr", "hrs"),
    "": ("pixel", "pix", "px", "frame", "none", "unknown", "reference frame"),
}
_NAME_BY_WORD = (
    {symbol.lower(): name for symbol, name in reversed(_NAME_BY_SYMBOL.items()) if not symbol[0].isupper()}
    | {name: name for name in _NAME_BY_SYMBOL.values()}
    | {word: name for name, words in _ALIASES.items() for word in words}
)


def unit_name(unit: object) -> str:
    """Return a unit as OME-Zarr spells it ("micrometer"): "" for pixels, unknown units unchanged.

    Symbols are compared with their case first, which distinguishes Mm and mm.
    """
    text = str(unit or "").strip()
    symbol = text.replace("μ", "µ")  # Greek letter mu, micro sign
    if symbol in _NAME_BY_SYMBOL:
        return _NAME_BY_SYMBOL[symbol]
    word = re.sub("metre(s?)$", r"meter\1", symbol.casefold().replace("μ", "µ"))
    singular = word.removesuffix("s") if len(word) > len("mms") or word == "ums" else word
    return _NAME_BY_WORD.get(word, _NAME_BY_WORD.get(singular, text))


def conversion(unit: str, other: str) -> float:
    """Return how many of another unit a unit of length is; 1 for equal units, 0 if they cannot be compared.

    Args:
        unit, other: from `unit_name`.
    """
    if unit == other:
        return 1.0
    return _METERS.get(unit, 0.0) / _METERS.get(other, float("inf"))
