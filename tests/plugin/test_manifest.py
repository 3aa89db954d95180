"""What npe2's own validation does not see: menus that napari drops, commands that nobody defines, imports that fail."""

import subprocess
import sys
from pathlib import Path

from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

import masked_denoiser

FILE = Path(masked_denoiser.__file__).parent / "napari.yaml"
MANIFEST = PluginManifest.from_file(FILE)

#: Those of napari's menus that plugins may add to, as far as we use them.
OPEN_MENUS = {"napari/layers/filter"}


def named_commands():
    """Every command that a contribution names."""
    parts = MANIFEST.contributions
    for group in (parts.widgets, parts.readers, parts.writers, parts.sample_data):
        yield from (entry.command for entry in group)
    for entries in parts.menus.values():
        yield from (entry.command for entry in entries)


def test_every_command_is_defined_and_used():
    assert set(named_commands()) == {command.id for command in MANIFEST.contributions.commands}


def test_every_python_name_is_there():
    for command in MANIFEST.contributions.commands:
        assert callable(import_python_name(command.python_name))


def test_menus_are_open_to_plugins():
    assert set(MANIFEST.contributions.menus) == OPEN_MENUS


def test_reading_the_manifest_and_asking_the_reader_load_no_torch():
    code = (
        "import sys; from masked_denoiser.plugin.reader import get_reader\n"
        "import masked_denoiser.plugin.sample_data\n"
        "assert get_reader('a.tif'); print([m for m in ('torch', 'zarr', 'tifffile', 'napari') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
