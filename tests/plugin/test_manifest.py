"""Tests of what npe2 does not validate: menus, commands and Python names of the manifest."""

import subprocess
import sys
from pathlib import Path

from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

import masked_denoiser

FILE = Path(masked_denoiser.__file__).parent / "napari.yaml"
MANIFEST = PluginManifest.from_file(FILE)

#: The menus of napari that plugins may add to and this plugin uses.
OPEN_MENUS = {"napari/layers/filter"}


def contributed_commands():
    """Yield the commands that the contributions refer to."""
    parts = MANIFEST.contributions
    for group in (parts.widgets, parts.readers, parts.writers, parts.sample_data):
        yield from (entry.command for entry in group)
    for entries in parts.menus.values():
        yield from (entry.command for entry in entries)


def test_commands_are_defined_and_used():
    assert set(contributed_commands()) == {command.id for command in MANIFEST.contributions.commands}


def test_python_names_exist():
    for command in MANIFEST.contributions.commands:
        assert callable(import_python_name(command.python_name))


def test_menus_are_open_to_plugins():
    assert set(MANIFEST.contributions.menus) == OPEN_MENUS


def test_manifest_and_reader_do_not_import_torch():
    code = (
        "import sys; from masked_denoiser.plugin.reader import get_reader\n"
        "import masked_denoiser.plugin.sample_data\n"
        "assert get_reader('a.tif'); print([m for m in ('torch', 'zarr', 'tifffile', 'napari') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
