"""The card of a model: what it is, how it was trained, and what may be done with it."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from masked_denoiser.errors import ModelError
from masked_denoiser.network.build import NetworkConfig, config_from_dict
from masked_denoiser.plain_json import parse_json

#: Version of the layout of the metadata in a model file.
FORMAT = 1

#: A name becomes that of a file.
_LONGEST_NAME, _STRANGE = 200, frozenset("/\\\n\t\0")


@dataclass(frozen=True)
class Card:
    """All that is known of a model beside its weights.

    Attributes:
        name: what users call it.
        architecture: the network's configuration.
        description: one or two sentences for a person who chooses a model.
        intensity: the convention of the input; "unit" is [0, 1] with 8-bit white at 1.
        training: what was trained, for how long, on what hardware, in what differs from the paper.
        data: training images and their licences.
        licence: licence of the weights.
        version: version of the weights.
        source: where the weights came from.
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

    def __post_init__(self) -> None:
        if not 0 < len(self.name.strip()) <= len(self.name) <= _LONGEST_NAME or set(self.name) & _STRANGE:
            raise ModelError(f"a model cannot be called {self.name!r:.80}; give it a word or two without slashes")

    def to_json(self) -> str:
        """The card as one line of JSON, keys sorted."""
        values = asdict(self) | {"architecture": self.architecture.to_dict(), "format": FORMAT}
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`.

        Raises:
            ModelError: if the text is not a card that this version reads.
        """
        values = _parse(text)
        known = {f.name for f in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        if missing := {"name"} - set(kept):
            raise ModelError(f"the model's card lacks or misuses {missing.pop()!r}; it was not written by this program")
        for key, value in kept.items():
            _check_value(key, value)
        return cls(**(kept | {"architecture": config_from_dict(values["architecture"])}))

    def renamed(self, name: str) -> Self:
        """The same card under another name."""
        return replace(self, name=name)


def _check_value(key: str, value: Any) -> None:
    """A card is shown on screens, and its name becomes a file's: text must be what it seems.

    Raises:
        ModelError: for a value of another type than the field's, or with control characters.
    """
    wanted = {"architecture": dict, "training": dict, "data": list}.get(key, str)
    if not isinstance(value, wanted):
        raise ModelError(f"the model's card has {key} {value!r:.80}; it was not written by this program")
    texts = [] if isinstance(value, dict) else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and _is_plain(text) for text in texts):
        raise ModelError(f"the model's card has more than plain text in {key}; it is not opened for safety")


def _is_plain(text: str) -> bool:
    """A terminal acts on control characters."""
    return not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in text)


def _parse(text: str) -> dict[str, Any]:
    try:
        values = parse_json(text)
    except ValueError as error:
        raise ModelError(f"the model's card is not JSON ({error}); the file is damaged") from error
    if not isinstance(values, dict) or not isinstance(values.get("architecture"), dict):
        raise ModelError("the model's card names no architecture; the file is not a model of this program")
    if values.get("format") != FORMAT:
        raise ModelError(
            f"the model's card has format {values.get('format')!r:.80}, this version reads {FORMAT}; update the program"
        )
    return values
