from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
from npe2 import DynamicPlugin, PluginManager

from masked_denoiser.images.readers.plugins import bioio_reader
from tests.images.readers.plugins import foo_plugin


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """Redirect the settings of napari to a file that does not exist yet."""
    path = tmp_path / "napari" / "settings.yaml"
    path.parent.mkdir()
    monkeypatch.setenv("NAPARI_CONFIG", str(path))
    return path


def add_plugin(name, function=foo_plugin.get_reader, patterns=("*.foo",), folders=False):
    """Return a plugin, to be registered in a `with` statement, with one reader."""
    plugin = DynamicPlugin(name, plugin_manager=PluginManager.instance())
    plugin.__enter__()

    def get_reader(path):
        return function(path)

    plugin.contribute.reader(get_reader, filename_patterns=list(patterns), accepts_directories=folders)
    return plugin


@pytest.fixture
def plugin():
    """Function that registers plugins for the duration of a test."""
    registered = []

    def add(*arguments, **settings):
        registered.append(add_plugin(*arguments, **settings))

    yield add
    for each in registered:
        each.__exit__()


@pytest.fixture
def foo(plugin):
    """Register the plugin of these tests."""
    plugin(foo_plugin.NAME)


@pytest.fixture
def bioio_foo(monkeypatch):
    """Install a reader of bioio."""
    entry = EntryPoint("bioio-foo", "tests.images.readers.plugins.foo_bioio", "bioio.readers")
    monkeypatch.setattr(bioio_reader, "entry_points", lambda group: [*entry_points(group=group), entry])
    return "bioio-foo"


@pytest.fixture
def file(tmp_path) -> Path:
    """Path of a file of the plugin that does not exist yet."""
    return tmp_path / "a.foo"
