"""What is known of the result layers of each viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from masked_denoiser.plugin.denoise.task import Role


class Registry:
    """What is known of the result layers of a viewer, also by a dock that is opened again.

    Attributes:
        inputs: input layer of each result.
        roles: role of each result.
        hidden: input layers that were hidden for a result.
        seen: result that was visible before an input was shown instead.
        output_layers: layers of results on disk, by path and role.
    """

    def __init__(self) -> None:
        self.inputs: WeakKeyDictionary[Any, ref[Any]] = WeakKeyDictionary()
        self.roles: WeakKeyDictionary[Any, Role] = WeakKeyDictionary()
        self.hidden: WeakSet[Any] = WeakSet()
        self.seen: WeakKeyDictionary[Any, ref[Any]] = WeakKeyDictionary()
        self.output_layers: WeakValueDictionary[tuple[Path, Role], Any] = WeakValueDictionary()


_REGISTRIES: WeakKeyDictionary[Any, Registry] = WeakKeyDictionary()


def registry_of(viewer: Any) -> Registry:
    """Return the registry of a viewer, which all docks in it share."""
    return _REGISTRIES.setdefault(viewer, Registry())
