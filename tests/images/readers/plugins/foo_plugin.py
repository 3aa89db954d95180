"""A napari plugin and a bioio reader of a format of these tests, and their installation for other processes.

A file is JSON: a list of layers, each with a shape, a seed of its pixels, and settings; or a word for a fault.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

NAME = "foo-reader"

MANIFEST = """name: foo-reader
display_name: Foo
contributions:
  commands:
    - id: foo-reader.read
      title: Read foo
      python_name: foo_plugin:get_reader
  readers:
    - command: foo-reader.read
      filename_patterns: ["*.foo"]
      accepts_directories: true
"""

METADATA = "Metadata-Version: 2.1\nName: foo-reader\nVersion: 1.0\n"

ENTRY_POINTS = "[napari.manifest]\nfoo-reader = foo_plugin:napari.yaml\n"


class FooError(Exception):
    """An error that only this plugin knows."""


def write(path, *layers, fault=""):
    """Write a file, and return its path."""
    path.write_text(json.dumps({"layers": list(layers), "fault": fault}))
    return path


def layer(shape=(40, 50), seed=0, dtype="uint8", kind="image", **settings):
    """Return a layer of a file."""
    return {"shape": list(shape), "seed": seed, "dtype": dtype, "kind": kind, "settings": settings}


def pixels(described):
    """Return the pixels of a layer."""
    drawn = np.random.default_rng(described["seed"]).integers(0, 200, described["shape"])
    return drawn.astype(described["dtype"])


def get_reader(path):
    """Return the reader of a file, or None to refuse it."""
    if Path(path).is_dir():
        return (lambda path: read(str(Path(path) / "index.foo"))) if (Path(path) / "index.foo").exists() else None
    fault = json.loads(Path(path).read_text())["fault"]
    if fault == "get_reader raises":
        raise FooError("it has\ntwo lines")
    return None if fault == "refused" else read


def read(path):
    """Return layer data with dask arrays, of one chunk for each plane."""
    import dask.array as da

    content = json.loads(Path(path).read_text())
    if content["fault"] == "read raises":
        raise FooError("it is broken")
    found = []
    for described in content["layers"]:
        array = pixels(described)
        data = da.from_array(array, chunks=(1,) * (array.ndim - 2) + array.shape[-2:])
        if content["fault"] == "pixels raise":
            data = data.map_blocks(_fail, dtype=array.dtype, meta=np.empty((0,) * array.ndim, array.dtype))
        found.append((data, described["settings"], described["kind"]))
    return found


def _fail(block):
    raise FooError("a block is missing")


def install(folder):
    """Install the plugin in a folder that is to be a part of PYTHONPATH."""
    package, information = folder / "foo_plugin", folder / "foo_reader-1.0.dist-info"
    package.mkdir(parents=True)
    information.mkdir()
    (package / "__init__.py").write_text(Path(__file__).read_text())
    (package / "napari.yaml").write_text(MANIFEST)
    (information / "METADATA").write_text(METADATA)
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder
