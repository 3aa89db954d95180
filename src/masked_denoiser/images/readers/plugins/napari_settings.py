"""Choices of readers that napari remembers, from its settings file; napari itself is not imported.

The file is that of `napari.settings` for this environment: `settings.yaml` in the user's configuration folder, or the
file that the variable NAPARI_CONFIG names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from hashlib import sha1
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from masked_denoiser.images.readers.plugins.calls import describe


@dataclass(frozen=True)
class ReaderChoices:
    """What napari remembers of readers.

    Attributes:
        remembered: pattern of paths to the name of the plugin that opens them.
        disabled: names of plugins that are not to be used.
        notes: why the settings are ignored; empty if they are not.
    """

    remembered: Mapping[str, str] = field(default_factory=dict)
    disabled: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def plugin_for(self, path: Path) -> str:
        """Return the plugin that is remembered for a file by the most specific pattern, as in napari; "" if none."""
        real = os.path.realpath(path)
        name = f"{real}{os.sep}" if path.is_dir() else real
        matching = [pattern for pattern in self.remembered if fnmatch(name, pattern)]
        return self.remembered[min(matching, key=_specificity)] if matching else ""


def read_choices() -> ReaderChoices:
    """Return the choices in napari's settings; none if there are no settings, or they cannot be read."""
    from yaml import YAMLError, safe_load  # a dependency of napari and npe2

    path = settings_path()
    try:
        with path.open(encoding="utf-8") as file:
            values = safe_load(file)
    except FileNotFoundError:
        return ReaderChoices()
    except (OSError, UnicodeDecodeError, YAMLError, RecursionError) as error:
        return ReaderChoices(notes=(f"napari's settings {path} are ignored: they cannot be read ({describe(error)})",))
    plugins = values.get("plugins") if isinstance(values, dict) else None
    return _choices(plugins) if isinstance(plugins, dict) else ReaderChoices()


def settings_path() -> Path:
    """Return the path of napari's settings file, which need not exist; see `napari.utils._platformdirs`."""
    from platformdirs import user_cache_dir, user_config_dir

    if named := os.environ.get("NAPARI_CONFIG"):
        return Path(named)
    prefix = os.path.realpath(sys.prefix)
    environment = f"{Path(prefix).name}_{sha1(prefix.encode(), usedforsecurity=False).hexdigest()}"
    if prefix.startswith(user_cache_dir("uv")):
        environment = str(Path("uvx", _napari_version()))
    return Path(user_config_dir("napari", False, environment), "settings.yaml")


def _napari_version() -> str:
    try:
        return version("napari")
    except PackageNotFoundError:
        return "none"


def _choices(plugins: Mapping[str, Any]) -> ReaderChoices:
    remembered, disabled = plugins.get("extension2reader"), plugins.get("disabled_plugins")
    patterns = remembered.items() if isinstance(remembered, dict) else ()
    return ReaderChoices(
        # Up to napari 0.4.16, ".csv" stood for "*.csv".
        {f"*{pattern}" if str(pattern).startswith(".") else str(pattern): str(plugin) for pattern, plugin in patterns},
        frozenset(map(str, disabled)) if isinstance(disabled, list | set | dict) else frozenset(),
    )


def _specificity(pattern: str) -> tuple[bool, int, int, int]:
    """Return a key by which absolute, deep and unambiguous patterns come first."""
    wildcards = sum(map(pattern.count, "*?["))
    return not Path(pattern).is_absolute(), -os.path.normpath(pattern).count(os.sep), wildcards, -len(pattern)
