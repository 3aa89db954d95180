"""Types of the options of a job, which Python does not check."""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral, Real
from typing import Any

from masked_denoiser.errors import JobError


def check_types(options: Any) -> None:
    """Check the types of the fields of a dataclass whose annotations are numbers, texts and flags.

    Raises:
        JobError: that names the first value of another type.
    """
    for field in fields(options):
        value, annotation = getattr(options, field.name), str(field.type)
        if "tuple" in annotation:
            continue
        is_numeric = "int" in annotation or "float" in annotation
        number = Integral if "int" in annotation else Real
        if annotation == "bool" or (is_numeric and isinstance(value, number) and not isinstance(value, bool)):
            continue
        accepts_text = annotation not in ("int", "float")
        if accepts_text and isinstance(value, str):
            continue
        kinds = [("a whole number" if number is Integral else "a number")] if is_numeric else []
        kinds += ["text"] if accepts_text else []
        raise JobError(f"{field.name} is {value!r}; give {' or '.join(kinds)}, such as {field.default!r}")
