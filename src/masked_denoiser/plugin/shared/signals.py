"""What one dock tells the others."""

from __future__ import annotations

from psygnal import Signal


class _Signals:
    """Signals between docks; whoever connects a bound method is forgotten with its object."""

    #: A model of this name was written into the user's folder.
    model_saved = Signal(str)


SIGNALS = _Signals()
