"""Names of units in files of other programs."""

from __future__ import annotations

import pytest

from masked_denoiser.images.metadata.units import conversion, unit_name


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("micrometer", "um µm μm UM micron microns Micrometre micrometers \\u00b5m"),
        ("millimeter", "mm MM millimetre millimeters"),
        ("megameter", "Mm megameter"),
        ("picometer", "pm picometers"),
        ("angstrom", "Å å angstroms Ångström"),
        ("inch", 'in inches "'),
        ("second", "s S sec seconds"),
        ("millisecond", "ms msec milliseconds"),
        ("microsecond", "us µs μs usec microseconds"),
        ("nanosecond", "ns nanoseconds"),
        ("hour", "h hr hrs hours"),
        ("", "pixel pixels px frames none unknown"),
    ],
)
def test_spellings(name: str, spellings: str) -> None:
    assert {unit_name(word) for word in spellings.split()} == {name}


def test_unknown_units_are_kept() -> None:
    assert [unit_name(unit) for unit in ("photons", " furlong ", None)] == ["photons", "furlong", ""]


@pytest.mark.parametrize(
    ("unit", "other", "factor"),
    [("millimeter", "micrometer", 1e3), ("angstrom", "nanometer", 0.1), ("reference frame", "meter", 0), ("", "", 1)],
)
def test_conversion(unit: str, other: str, factor: float) -> None:
    assert conversion(unit, other) == pytest.approx(factor)
