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
from masked_denoiser.models.export import bioimageio_package
from masked_denoiser.models.file import read_model
from tests.models.export.samples import make_model

# bioimageio leaves files to the garbage collector, and torch advises against TorchScript when it is loaded.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def without_network_and_leftovers(monkeypatch):
    def connect(*arguments):
        raise AssertionError(f"a connection to {arguments[1:]} was attempted")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    yield
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
    assert {str(entry.text)[:4] for entry in description.cite} == {"Chen", "napa"}
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


@pytest.mark.long
def test_a_package_that_fails_its_own_test_is_removed(tmp_path, monkeypatch):
    original = bioimageio_package.reference
    monkeypatch.setattr(bioimageio_package, "reference", lambda model, images: original(model, images) * 1.5)
    with pytest.raises(md.errors.ModelError, match=r"the test of bioimageio\.core says Reproduce test outputs"):
        md.export_model(make_model("rgb"), "bioimageio", tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []
