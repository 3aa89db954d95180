"""Cache of measurements on this machine: one JSON file in the user's cache folder.

A measurement affects the bytes of a result only if the job asked for it, and the job reports that it does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.plain_json import parse_json

#: Longest time in seconds to wait for another process that writes the file.
_LOCK_TIMEOUT = 5


def recall(key: str) -> Any:
    """Return the value cached under a key; None if there is none.

    A missing or damaged file counts as empty, because everything in it can be measured again.
    """
    return _read().get(key)


def remember(key: str, value: Any) -> str:
    """Cache a JSON value, and return a message that says where, or why that failed."""
    from filelock import FileLock, Timeout  # only needed to write

    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=_LOCK_TIMEOUT):  # workers may measure simultaneously
            values = _read() | {key: value}
            with replaced_atomically(path) as temporary:
                temporary.write_text(json.dumps(values, indent=1, sort_keys=True))
    except (OSError, NotImplementedError, Timeout) as error:  # some file systems have no locks
        reason = getattr(error, "strerror", None) or error
        return f"{path} cannot be written ({reason}), so the next job measures again"
    return f"saved in {path}"


def _read() -> dict[str, Any]:
    try:
        values = parse_json(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _file() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("masked-denoiser") / "measured.json"
