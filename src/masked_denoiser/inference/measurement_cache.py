"""What was measured on this machine: one JSON file in the user's cache folder.

It decides nothing by itself: a job whose bytes depend on a measurement asked for that, or says so.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from masked_denoiser.plain_json import parse_json

#: Seconds to wait for another process that writes the file.
_PATIENCE = 5


def recall(key: str) -> Any:
    """What was remembered under this key; None where there is nothing.

    A file that is missing or damaged holds nothing: all in it can be measured again.
    """
    return _all().get(key)


def remember(key: str, value: Any) -> str:
    """Keep a JSON value, and return a sentence that says where, or that it could not be kept."""
    from filelock import FileLock, Timeout  # not needed where nothing is kept

    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=_PATIENCE):  # workers of one machine measure alike
            making = path.with_suffix(f".{os.getpid()}")
            making.write_text(json.dumps(_all() | {key: value}, indent=1, sort_keys=True))
            making.replace(path)
    except (OSError, Timeout) as error:
        reason = getattr(error, "strerror", None) or error
        return f"{path} cannot be written ({reason}), so the next job measures again"
    return f"kept in {path}"


def _all() -> dict[str, Any]:
    try:
        values = parse_json(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _file() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("masked-denoiser") / "measured.json"
