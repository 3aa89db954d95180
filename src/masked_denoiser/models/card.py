"""Model card: description, architecture, training and licence of a model."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from masked_denoiser.errors import ConfigError, ModelError
from masked_denoiser.network.build import NetworkConfig, config_from_dict
from masked_denoiser.plain_json import parse_json

#: Version of the metadata layout in a model file.
FORMAT = 1

#: Limit of model names in bytes, which with a suffix are also file names.
_MAX_NAME_BYTES = 240

#: Unicode categories that no name has: control characters, and the surrogates of file names that are not UTF-8.
_UNNAMEABLE = ("Cc", "Cs")


@dataclass(frozen=True)
class Card:
    """Everything recorded about a model except its weights.

    Attributes:
        name: name shown to users.
        architecture: configuration of the network.
        description: one or two sentences that help to choose a model.
        intensity: convention of the input; "unit" is [0, 1] with 8-bit white at 1.
        training: settings, duration and hardware of the training, and its differences from the paper.
        data: training images and their licences.
        licence: licence of the weights.
        version: version of the weights.
        source: origin of the weights.
        uncertainty: calibration of the spread of its passes; see `models.uncertainty`.
    """

    name: str
    architecture: NetworkConfig
    description: str = ""
    intensity: str = "unit"
    training: dict[str, Any] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)
    licence: str = "unknown"
    version: str = "1"
    source: str = ""
    uncertainty: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)

    def to_json(self) -> str:
        """Return the card as one line of JSON with sorted keys."""
        values = asdict(self) | {"architecture": self.architecture.to_dict(), "format": FORMAT}
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the card of a text written by `to_json`.

        Raises:
            ModelError: if the text is not a card that this version supports.
        """
        values = _parse(text)
        known = {f.name for f in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        if missing := {"name"} - set(kept):
            raise ModelError(f"the model's card lacks or misuses {missing.pop()!r}; it was not written by this program")
        for key, value in kept.items():
            _check_value(key, value)
        try:
            architecture = config_from_dict(values["architecture"])
        except ConfigError as error:  # of a newer version, or damaged
            raise ModelError(f"the model's card: {error}; update the program, or get the model again") from error
        return cls(**(kept | {"architecture": architecture}))

    def renamed(self, name: str) -> Self:
        """Return the same card with another name."""
        return replace(self, name=name)


def check_name(name: str) -> None:
    """Check the name of a model, which is also the name of its file.

    Raises:
        ModelError: if it is empty or long, or has slashes or characters that cannot be printed.
    """
    if any(unicodedata.category(c) in _UNNAMEABLE or c in "/\\" for c in name):
        raise ModelError(
            f"a model cannot be called {name!r:.80}; choose a name of printable characters without slashes"
        )
    if not name.strip(" .") or len(name.encode()) > _MAX_NAME_BYTES:
        raise ModelError(f"a model cannot be called {name!r:.80}; choose a name of 1 to {_MAX_NAME_BYTES} bytes")


def _check_value(key: str, value: Any) -> None:
    """Reject values that are not plain text, since cards are displayed and their names become file names.

    Raises:
        ModelError: if a value has another type than its field, or contains control characters.
    """
    expected = {"architecture": dict, "training": dict, "uncertainty": dict, "data": list}.get(key, str)
    if not isinstance(value, expected):
        raise ModelError(f"the model's card has {key} {value!r:.80}; it was not written by this program")
    if isinstance(value, list) and not all(isinstance(text, str) for text in value):
        raise ModelError(f"the model's card has {key} {value!r:.80}; it was not written by this program")
    if not all(map(_is_plain, _texts(value))):
        raise ModelError(f"the model's card has more than plain text in {key}; the model is not opened for safety")


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts of a JSON value, the keys of its objects too."""
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts(each)
        case dict():
            for key, each in value.items():
                yield key
                yield from _texts(each)


def _is_plain(text: str) -> bool:
    """Return whether a text is free of control characters, which a terminal would execute."""
    return not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in text)


def _parse(text: str) -> dict[str, Any]:
    try:
        values = parse_json(text)
    except ValueError as error:
        raise ModelError(f"the model's card is not JSON ({error}); the file is damaged") from error
    if not isinstance(values, dict) or not isinstance(values.get("architecture"), dict):
        raise ModelError("the model's card names no architecture; it was not written by this program")
    if values.get("format") != FORMAT:
        raise ModelError(
            f"the model's card has format {values.get('format')!r:.80}, this version reads {FORMAT}; update the program"
        )
    return values
