import gc
import socket
import warnings

import bioimageio.core
import bioimageio.spec
import pytest
from bioimageio.spec.model.v0_5 import ModelDescr
from PIL import Image

import masked_denoiser as md
from masked_denoiser.cli.main import main
from masked_denoiser.models.export import bioimageio_description, bioimageio_package
from masked_denoiser.models.file import read_model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.ushape_config import UConfig
from tests.models.export.samples import make_model

# bioimageio leaves files to the garbage collector, and torch advises against TorchScript when it is loaded.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def without_network_and_leftovers(monkeypatch):
    attempts = []

    def connect(*arguments, **named):
        attempts.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    yield
    assert attempts == []  # bioimageio.spec catches every exception
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("kind", ["rgb", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("gray", "masked"))])
def test_package_passes_its_test_and_comes_back(tmp_path, kind):
    model = make_model(kind)
    path = md.export_model(model, "bioimageio", tmp_path / "a.zip").path
    description = bioimageio.spec.load_model_description(path)
    assert isinstance(description, ModelDescr)
    assert bioimageio.core.test_model(path).status == "passed"

    assert str(description.license) == "BSD-3-Clause"
    assert [str(entry.text)[:4] for entry in description.cite] == ["Chen"]
    assert description.weights.onnx.opset_version == 18
    assert description.weights.torchscript is not None
    assert description.documentation is not None
    with Image.open(description.covers[0].get_reader()) as cover:
        assert cover.size == (512, 256)

    target = tmp_path / "back.safetensors"
    assert main(["models", "import", str(path), "--output", str(target)]) == 0
    back = read_model(target)
    assert back.card == model.card
    assert back.digest == model.digest


@pytest.mark.parametrize("window", [2, 6, 8, 12, 16, 32])
@pytest.mark.parametrize("unshuffle", [0, 1, 2, 4])
def test_sample_has_a_valid_size(window, unshuffle):
    config = UConfig(unshuffle=unshuffle, window=window) if unshuffle else SwinConfig(window=window)
    smallest = 2 * bioimageio_description.halo(config) + config.grid
    for limit in (256, 320):
        if smallest > limit:
            with pytest.raises(md.errors.ModelError, match="export to onnx"):
                bioimageio_description.valid_size(config, limit)
        else:
            size = bioimageio_description.valid_size(config, limit)
            assert smallest <= size <= limit < size + config.grid
            assert (size - smallest) % config.grid == 0


@pytest.mark.long
def test_a_package_that_fails_its_own_test_is_removed(tmp_path, monkeypatch):
    original = bioimageio_package.reference
    monkeypatch.setattr(bioimageio_package, "reference", lambda model, images: original(model, images) * 1.5)
    with pytest.raises(md.errors.ModelError, match=r"the test of bioimageio\.core says Reproduce test outputs"):
        md.export_model(make_model("rgb"), "bioimageio", tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []
