"""Choice of a reader: by name, by napari's settings, or because it is the only one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from napari.plugins.utils import get_preferred_reader
from napari.settings import get_settings
from napari.settings._napari_settings import NapariSettings
from napari.utils._base import _DEFAULT_CONFIG_PATH

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.plugins import bioio_reader, npe2_reader
from masked_denoiser.images.readers.plugins.napari_settings import ReaderChoices, read_choices, settings_path
from tests.images.readers.plugins.foo_plugin import NAME, get_reader, layer, write


def remember(settings, **plugins):
    """Write settings as napari does."""
    written = NapariSettings(config_path=str(settings), plugins=plugins)
    written.save()


def used(path):
    with open_image(path) as source:
        return source.reader


def test_the_only_plugin_opens_a_file_that_is_not_ours(foo, plugin, file):
    plugin("bar-reader", patterns=["*.bar"])
    plugin("refuses", lambda path: None)
    write(file, layer())
    with open_image(file) as source:
        assert (source.reader, source.notes[0]) == (NAME, "opened by the napari plugin foo-reader")


def test_nothing_is_chosen_among_several_plugins(foo, plugin, file):
    plugin("another", get_reader)
    write(file, layer())
    with pytest.raises(ImageError, match=r"several plugins \(another, foo-reader\); choose one with --reader another"):
        open_image(file)
    with open_image(file, reader="another") as source:
        assert source.reader == "another"


def test_choices_of_napari_are_followed(foo, plugin, file, settings):
    plugin("another", get_reader)
    write(file, layer())
    remember(settings, extension2reader={"*.foo": "another"})
    assert used(file) == "another"
    remember(settings, extension2reader={"*.foo": "another"}, disabled_plugins={"another"})
    assert used(file) == NAME
    with pytest.raises(ImageError, match="reader another is disabled in napari's settings; enable it there"):
        open_image(file, reader="another")
    remember(settings, extension2reader={"*.foo": "not-installed"}, disabled_plugins={"another"})
    assert used(file) == NAME


def test_broken_settings_are_reported(foo, file, settings):
    write(file, layer())
    settings.write_text("plugins: [")
    with open_image(file) as source:
        assert source.reader == NAME
        assert f"napari's settings {settings} are ignored" in source.notes[-1]
    settings.write_text("plugins: !!python/object/apply:os.system ['exit 1']")
    assert "could not determine a constructor" in read_choices().notes[0]
    for text in ("", "3", "plugins: 3", "plugins: {extension2reader: [1], disabled_plugins: 2}"):
        settings.write_text(text)
        assert read_choices() == ReaderChoices()


def test_settings_are_found_where_napari_has_them(monkeypatch, settings):
    assert settings_path() == settings
    monkeypatch.delenv("NAPARI_CONFIG")
    assert settings_path() == Path(_DEFAULT_CONFIG_PATH)


@pytest.mark.parametrize(
    "patterns",
    [
        ["*.foo", "*"],
        ["*a.foo", "*.foo", "*/in/*.foo"],
        ["{folder}/*", "*.foo"],
        ["{folder}/in/a.foo", "{folder}/*.foo", "*"],
        ["*.bar"],
        ["{folder}/out/*", "*.fo?"],
    ],
)
def test_the_most_specific_pattern_wins_as_in_napari(tmp_path, monkeypatch, patterns):
    path = tmp_path / "in" / "a.foo"
    path.parent.mkdir()
    path.touch()
    remembered = {each.format(folder=tmp_path): f"plugin-{number}" for number, each in enumerate(patterns)}
    monkeypatch.setattr(get_settings().plugins, "extension2reader", remembered)
    assert ReaderChoices(remembered).plugin_for(path) == (get_preferred_reader(path) or "")


def test_installed_readers_are_listed(foo, file, bioio_foo):
    write(file, layer())
    with pytest.raises(ImageError, match=r"reader 'x' is not installed; installed are .*foo-reader.*bioio-foo"):
        open_image(file, reader="x")


def test_missing_packages_are_named(monkeypatch, file):
    write(file, layer())
    for module in (npe2_reader, bioio_reader):
        monkeypatch.setattr(module, "is_installed", lambda: False)
    with pytest.raises(
        ImageError, match=r"npe2 and bioio are not installed: pip install 'napari-masked-denoiser\[readers\]'"
    ):
        open_image(file, reader="x")
    with pytest.raises(ImageError, match=r"a\.foo: is of no supported format"):
        open_image(file)
    (file.parent / "a.dv").write_text("content")
    with pytest.raises(ImageError, match="or install a reader of such files: pip install bioio bioio-dv"):
        open_image(file.parent / "a.dv")


def test_a_broken_file_of_our_formats_is_not_given_to_a_plugin(plugin, tmp_path):
    opened = []
    plugin("reads-tiff", lambda path: opened.append(path), patterns=["*.tif"])
    (tmp_path / "a.tif").write_text("content")
    with pytest.raises(ImageError, match=r"a\.tif: is of no supported format.*, or name a reader: --reader reads-tiff"):
        open_image(tmp_path / "a.tif")
    assert opened == []


def test_napari_itself_is_only_used_if_named_and_runs_no_script(tmp_path, settings):
    path, marker = tmp_path / "a.py", tmp_path / "ran"
    path.write_text(f"open({str(marker)!r}, 'w').close()")
    remember(settings, extension2reader={"*.py": "napari"})
    with pytest.raises(ImageError, match=r"a\.py: is of no supported format"):
        open_image(path)
    for reader in ("napari", "napari.get_py_reader"):
        with pytest.raises(ImageError, match=r"refuses the file|is not installed"):
            open_image(path, reader=reader)
    assert not marker.exists()


def test_opening_a_file_of_our_own_imports_no_plugin(tmp_path):
    import subprocess

    code = (
        "import sys, numpy, tifffile; from masked_denoiser.images.open import open_image;"
        "tifffile.imwrite('a.tif', numpy.zeros((9, 9), 'u1')); open_image('a.tif').close();"
        "print([name for name in ('npe2', 'bioio', 'napari', 'qtpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
