"""Signals between docks."""

from __future__ import annotations

from typing import Any

from psygnal import Signal


class _Signals:
    """Signals between docks; bound methods are connected weakly."""

    #: Emitted with the name of a model that was saved in the user's folder, and the viewer whose dock trained it.
    model_saved = Signal(str, object)


SIGNALS = _Signals()


def layer_list_signals(viewer: Any) -> tuple[Any, ...]:
    """Return the signals of a viewer after which its list of layers is another one."""
    events = viewer.layers.events
    return events.inserted, events.removed, events.reordered
