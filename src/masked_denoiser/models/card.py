"""The card of a model: what it is, how it was trained, and what may be done with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from masked_denoiser.errors import UserError
from masked_denoiser.network.build import NetworkConfig, config_from_dict

#: Version of the layout of the metadata in a model file.
FORMAT = 1


class ModelError(UserError, ValueError):
    """A model that cannot be found, read, written or trusted."""


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
        try:
            return cls(**(kept | {"architecture": config_from_dict(values["architecture"])}))
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"the model's card lacks or misuses {error}; it was not written by this program"
            ) from error

    def renamed(self, name: str) -> Self:
        """The same card under another name."""
        return replace(self, name=name)


def _parse(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"the model's card is not JSON ({error}); the file is damaged") from error
    if not isinstance(values, dict) or not isinstance(values.get("architecture"), dict):
        raise ModelError("the model's card names no architecture; the file is not a model of this program")
    if values.get("format") != FORMAT:
        raise ModelError(
            f"the model's card has format {values.get('format')!r}, this version reads {FORMAT}; update the program"
        )
    return values
