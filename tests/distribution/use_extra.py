"""Program for an environment with one extra of this package: use what the extra is for, on tiny images.

    python use_extra.py EXTRA FOLDER

Run by `test_extras.py` in a new environment; imports nothing of the tests. FOLDER is empty, or has a file of a
microscope `sample.czi`.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import tifffile

import masked_denoiser as md

_COMMAND = str(Path(sys.executable).with_name("masked-denoiser"))


def _noisy(shape: tuple[int, ...] = (96, 96), seed: int = 3) -> np.ndarray:
    """Return a wide ramp with Gaussian noise of standard deviation 500, uint16."""
    ramp = np.broadcast_to(np.linspace(5000, 30000, shape[-1]), shape)
    return (ramp + np.random.default_rng(seed).normal(0, 500, shape)).astype(np.uint16)


def _run(*arguments: object) -> None:
    subprocess.run([_COMMAND, *map(str, arguments)], check=True)


def _roughness(image: np.ndarray) -> float:
    """Return the standard deviation of the noise of `_noisy`, estimated from differences of rows."""
    return float(np.diff(image.astype(np.float64), axis=-2).std() / np.sqrt(2))


def _check(path: Path, noisy: np.ndarray) -> None:
    """Assert that a result has the shape and dtype of its input, and less noise."""
    with md.open_image(path) as result:
        clean = np.asarray(result.levels[0][...])
    assert clean.shape == noisy.shape, (clean.shape, noisy.shape)
    assert clean.dtype == noisy.dtype, (clean.dtype, noisy.dtype)
    assert _roughness(clean) < 0.6 * _roughness(noisy), (_roughness(clean), _roughness(noisy))


def base(folder: Path) -> None:
    """Denoise a TIFF on the command line; napari, Qt and dask are not needed."""
    tifffile.imwrite(folder / "a.tif", _noisy())
    _run("denoise", folder / "a.tif", folder / "a.ome.zarr")
    _check(folder / "a.ome.zarr", _noisy())
    _run("models", "list")
    for name in ("napari", "qtpy", "dask", "distributed", "pydicom", "h5py", "matplotlib"):
        assert importlib.util.find_spec(name) is None, f"{name} is installed without an extra"


def napari(folder: Path) -> None:
    """Read an image through the manifest, as napari does; a Qt binding is not needed for that."""
    from npe2 import PluginManager, io_utils

    PluginManager.instance().discover()
    path = folder / "a.tif"
    tifffile.imwrite(path, _noisy())
    layers, _ = io_utils.read_get_reader([str(path)], plugin_name="napari-masked-denoiser", stack=False)
    assert np.array_equal(np.asarray(layers[0][0]), _noisy())


def remote(folder: Path) -> None:
    """Read a zarr image from an HTTP server."""
    import s3fs  # noqa: F401

    tifffile.imwrite(folder / "a.tif", _noisy())
    _run("denoise", folder / "a.tif", folder / "a.ome.zarr")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _check_same(f"http://127.0.0.1:{server.server_port}/a.ome.zarr", folder / "a.ome.zarr")
        server.shutdown()


def _check_same(first: str, second: Path) -> None:
    with md.open_image(first) as a, md.open_image(second) as b:
        assert np.array_equal(np.asarray(a.levels[0][...]), np.asarray(b.levels[0][...]))


def cluster(folder: Path) -> None:
    """Denoise with two processes of this machine."""
    tifffile.imwrite(folder / "a.tif", _noisy())
    _run("denoise", folder / "a.tif", folder / "a.ome.zarr", "--workers", 2, "--threads", 1)
    _check(folder / "a.ome.zarr", _noisy())


def train(folder: Path) -> None:
    """Fine-tune for two steps, with a log for TensorBoard."""
    for seed in range(3):
        tifffile.imwrite(folder / f"{seed}.tif", _noisy((128, 128), seed))
    output = folder / "mine.safetensors"
    _run(
        "fine-tune",
        folder,
        "--output",
        output,
        "--steps",
        2,
        "--batch",
        1,
        "--noise",
        "gaussian(sigma=15)",
        "--tensorboard",
    )
    assert output.is_file()
    assert list(folder.rglob("events.out.tfevents.*"))


def evaluate(folder: Path) -> None:
    """Compare with wavelets, and plot."""
    tifffile.imwrite(folder / "a.tif", (_noisy() >> 8).astype(np.uint8))
    noises = ("--noise", "gaussian(sigma=15)", "--noise", "gaussian(sigma=25)")
    options = ("--model", "general-gray", "--baseline", "wavelet", *noises, "--crop", 64)
    _run("evaluate", folder / "a.tif", *options, "--plot", folder / "a.png")
    assert (folder / "a.png").is_file()


def medical(folder: Path) -> None:
    """Denoise a NIfTI volume, and a DICOM file into an anonymous series."""
    import nibabel
    import pydicom.data

    nibabel.save(nibabel.Nifti1Image(_noisy((4, 96, 96)), np.eye(4)), folder / "a.nii.gz")
    _run("denoise", folder / "a.nii.gz", folder / "b.nii.gz")
    assert nibabel.load(folder / "b.nii.gz").shape == (4, 96, 96)
    path = pydicom.data.get_testdata_file("CT_small.dcm")
    _run("denoise", path, folder / "series.dicom", "--anonymize")
    (slice_,) = (folder / "series.dicom").glob("*.dcm")
    assert "CompressedSamples" in str(pydicom.dcmread(path).PatientName)
    assert "CompressedSamples" not in str(pydicom.dcmread(slice_).get("PatientName", ""))


def em(folder: Path) -> None:
    """Denoise an MRC file into another."""
    import mrcfile

    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(_noisy())
    _run("denoise", folder / "a.mrc", folder / "b.mrc")
    _check(folder / "b.mrc", _noisy())


def microscopes(folder: Path) -> None:
    """Open a CZI file; the libraries of the other formats import."""
    import liffile  # noqa: F401
    import nd2  # noqa: F401
    import oiffile  # noqa: F401

    with md.open_image(folder / "sample.czi") as image:
        assert image.levels[0][...].size


def containers(folder: Path) -> None:
    """Denoise a data set of an HDF5 file."""
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = _noisy()
    _run("denoise", f"{folder / 'a.h5'}::raw", folder / "a.ome.zarr")
    _check(folder / "a.ome.zarr", _noisy())


def readers(folder: Path) -> None:
    """Open an image by another package; that of the format is installed by the test."""
    from PIL import Image

    Image.fromarray(_noisy() >> 8).convert("L").save(folder / "a.png")
    with md.open_image(folder / "a.png", reader="bioio-imageio") as image:
        assert image.levels[0].shape[-2:] == (96, 96)


def all_(folder: Path) -> None:
    """Show the Denoise dock in napari."""
    import napari as application

    tifffile.imwrite(folder / "a.tif", _noisy())
    viewer = application.Viewer(show=False)
    viewer.open(folder / "a.tif", plugin="napari-masked-denoiser")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    assert dock is not None
    assert widget is not None
    viewer.close()


def export(folder: Path) -> None:
    """Export a model to ONNX, which is compared with the network in onnxruntime."""
    _run("models", "export", "general-gray", "--to", "onnx", "--output", folder / "gray.onnx")
    assert (folder / "gray.onnx").stat().st_size > 1_000_000


USES = {
    "": base,
    "napari": napari,
    "remote": remote,
    "cluster": cluster,
    "train": train,
    "evaluate": evaluate,
    "medical": medical,
    "em": em,
    "microscopes": microscopes,
    "containers": containers,
    "readers": readers,
    "export": export,
    "all": all_,
}

if __name__ == "__main__":
    USES[sys.argv[1]](Path(sys.argv[2]))
    print("used", sys.argv[1] or "no extra")
