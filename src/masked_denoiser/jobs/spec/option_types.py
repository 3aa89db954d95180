"""Types of the options of a job, which Python does not check."""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from masked_denoiser.errors import JobError


def checked_values(options: Any) -> dict[str, Any]:
    """Return the fields of a dataclass whose annotations are numbers, pairs of numbers, texts and flags, by name.

    Numbers are those of Python, as NumPy's cannot be written to JSON.

    Raises:
        JobError: that names the first value of another type.
    """
    return {
        field.name: _checked(getattr(options, field.name), str(field.type), field.name, field.default)
        for field in fields(options)
    }


def _checked(value: Any, annotation: str, name: str, default: Any) -> Any:
    """Return a value of the annotated type; see `checked_values`."""
    if "tuple" in annotation:
        return _checked_pair(value, name)
    is_numeric = "int" in annotation or "float" in annotation
    number = Integral if "int" in annotation else Real
    if annotation == "bool" and isinstance(value, bool | np.bool_):
        return bool(value)
    if is_numeric and isinstance(value, number) and not isinstance(value, bool):
        return int(value) if number is Integral else _to_float(value, name)  # type: ignore[call-overload]
    accepts_text = annotation not in ("int", "float", "bool")
    if accepts_text and isinstance(value, str):
        return value
    kinds = [("a whole number" if number is Integral else "a number")] if is_numeric else []
    kinds += ["text"] if accepts_text else []
    kinds += ["True or False"] if annotation == "bool" else []
    example = "'sigma=20'" if name == "noise" else repr(default)
    raise JobError(f"{name} is {value!r}; give {' or '.join(kinds)}, such as {example}")


def _to_float(value: Any, name: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise JobError(f"{name} is too large for a number; give a smaller one") from error


def _checked_pair(value: Any, name: str) -> tuple[float, float] | None:
    """Return two numbers, or None."""
    if value is None:
        return None
    numbers = tuple(value) if isinstance(value, tuple | list | np.ndarray) and np.ndim(value) == 1 else ()
    if len(numbers) != 2 or not all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers):
        raise JobError(f"{name} is {value!r}; give two numbers, such as (0, 255)")
    return _to_float(numbers[0], name), _to_float(numbers[1], name)
