import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import masked_denoiser as md
from masked_denoiser.cli.main import main
from masked_denoiser.errors import ModelError
from masked_denoiser.models.card import Card
from masked_denoiser.models.export import check
from masked_denoiser.models.reference import import_checkpoint
from tests.models.export.samples import CONFIGS, denoise, make_model, random_images

#: Sizes other than those that exports are checked with: larger, not on any grid, and smaller than a reflection.
SIZES = [(1, 49, 30), (3, 8, 8), (1, 1, 1)]

#: Shapes of noise maps that do not fit images of 2 x 1 x 24 x 40: transposed, half, double, and another batch.
WRONG_NOISE_SHAPES = [(2, 1, 40, 24), (2, 1, 12, 20), (2, 1, 48, 80), (2, 1, 25, 40), (3, 1, 24, 40)]

#: Models with masks, and with a noise map; one with neither is tested by `make test-long`.
KINDS = ["masked", "gray", pytest.param("rgb", marks=pytest.mark.long)]

#: Runs TorchScript where this program cannot be imported, on the arrays in a folder.
ELSEWHERE = """
import sys, numpy as np
sys.modules["masked_denoiser"] = None
import torch
model = torch.jit.load(sys.argv[1])
arrays = np.load(sys.argv[2])
out = {name: model(torch.from_numpy(arrays[name])).numpy() for name in arrays if name != "noise"}
if "noise" in arrays:
    out["with_noise"] = model.with_noise_std(torch.from_numpy(arrays["0"]), torch.from_numpy(arrays["noise"])).numpy()
np.savez(sys.argv[3], **out)
"""


@pytest.fixture(scope="module")
def export_onnx(tmp_path_factory):
    """Return a function that exports a model once for all tests."""
    folder = tmp_path_factory.mktemp("onnx")

    @cache
    def export(kind):
        return md.export_model(make_model(kind), "onnx", folder / f"{kind}.onnx")

    return export


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_denoises_images_of_any_size_like_this_program(export_onnx, kind):
    model, exported = make_model(kind), export_onnx(kind)
    assert 0 < exported.difference <= check.TOLERANCE
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(exported.path), options)
    assert [value.name for value in session.get_inputs()] == ["image"]
    for batch, *sides in SIZES:
        images = random_images((batch, CONFIGS[kind].channels, *sides))
        expected = denoise(model, images)
        assert np.abs(expected - images).max() > 100 * check.TOLERANCE
        assert np.abs(session.run(None, {"image": images})[0] - expected).max() < 1e-5
        if kind == "gray":
            for std in (np.full((1, 1, 1, 1), 0.02, np.float32), random_images((batch, 1, *sides)) * 0.1):
                out = session.run(None, {"image": images, "noise_std": std})[0]
                assert np.abs(out - denoise(model, images, std)).max() < 1e-5
    if kind == "gray":
        for shape in WRONG_NOISE_SHAPES:
            with pytest.raises(Exception, match=r"[Ii]ndices|out of bounds|out of range"):
                session.run(None, {"image": random_images((2, 1, 24, 40)), "noise_std": random_images(shape)})
    assert (kind == "gray") == ([v.name for v in session.get_overridable_initializers()] == ["noise_std"])


def test_onnx_file_describes_its_model(export_onnx):
    model, proto = make_model("gray"), onnx.load(export_onnx("gray").path)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 18)]
    assert b".py" not in proto.SerializeToString()  # stack traces of the exporter
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    assert Card.from_json(properties["card"]) == model.card
    assert {"name", "licence", "channels", "input image", "input noise_std", "program"} <= set(properties)
    (image, _), (out,) = proto.graph.input, proto.graph.output
    for value in (image, out):
        dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        assert dims == ["batch", 1, "height", "width"]


@pytest.mark.parametrize("kind", KINDS)
def test_torchscript_runs_where_this_program_is_not_installed(tmp_path, kind):
    model = make_model(kind)
    exported = md.export_model(model, "torchscript", tmp_path / "a.pt")
    arrays = {str(i): random_images((b, CONFIGS[kind].channels, h, w)) for i, (b, h, w) in enumerate(SIZES)}
    expected = {name: denoise(model, images) for name, images in arrays.items()}
    if kind == "gray":
        arrays["noise"] = np.full((1, 1, 1, 1), 0.02, np.float32)
        expected["with_noise"] = denoise(model, arrays["0"], arrays["noise"])
    np.savez(tmp_path / "in.npz", **arrays)
    files = [str(tmp_path / name) for name in ("in.npz", "out.npz")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(exported.path), *files], check=True, cwd=tmp_path)
    with np.load(files[1]) as out:
        assert {name: np.abs(out[name] - expected[name]).max() < 1e-5 for name in expected} == dict.fromkeys(out, True)


def test_an_export_that_computes_something_else_is_removed(tmp_path, monkeypatch, capsys):
    original = check.reference
    monkeypatch.setattr(check, "reference", lambda *arguments: original(*arguments) + np.float32(2 * check.TOLERANCE))
    path = save(make_model("rgb"), tmp_path)
    command = ["models", "export", str(path), "--to", "torchscript", "--output", str(tmp_path / "a.pt")]
    assert main(command) == 1
    assert re.search(
        r"differ .* by 0\.0002 for 1 x 3 x 16 x 16, 0\.0002 for 2 x 3 x 25 x 35, ", capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoint_has_the_weights_in_the_published_layout(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = make_model("masked")
    main(["models", "export", str(save(model, tmp_path)), "--to", "checkpoint"])
    assert capsys.readouterr().out.endswith(
        "mean: 0.4488, 0.4371, 0.404; masked attention tokens: 75%\nwrote masked.pth\n"
    )
    weights = import_checkpoint("masked.pth").weights
    assert all((weights[name] == tensor).all() for name, tensor in model.weights.items())


@pytest.mark.parametrize(
    ("to", "output", "words"),
    [
        ("keras", "a.keras", "there is no format 'keras'; choose one of: onnx, torchscript, bioimageio"),
        ("onnx", "a.pt", r"a.pt does not end in \.onnx"),
        ("onnx", "old.onnx", "old.onnx exists"),
        ("onnx", "missing/a.onnx", "missing does not exist; create it"),
    ],
)
def test_impossible_exports_are_refused(tmp_path, monkeypatch, to, output, words):
    monkeypatch.chdir(tmp_path)
    Path("old.onnx").touch()
    with pytest.raises(ModelError, match=words):
        md.export_model(make_model("rgb"), to, output)


@pytest.mark.parametrize(
    ("to", "package"), [("onnx", "onnx"), ("onnx", "onnxscript"), ("bioimageio", "bioimageio.core")]
)
def test_missing_packages_are_named(tmp_path, monkeypatch, to, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=rf"needs the package {package}: pip install '.*\[export\]'"):
        md.export_model(make_model("rgb"), to, tmp_path / ("a.zip" if to == "bioimageio" else "a.onnx"))
    assert list(tmp_path.iterdir()) == []


def test_command_shows_errors_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["models", "export", "missing-model", "--to", "onnx"]) == 1
    assert "no model is called 'missing-model'" in capsys.readouterr().err


def save(model, folder):
    path = folder / "model.safetensors"
    model.save(path)
    return path


def test_torchscript_refuses_noise_maps_that_do_not_fit(tmp_path):
    model = make_model("gray")
    path = md.export_model(model, "torchscript", tmp_path / "a.pt").path
    with pytest.warns(DeprecationWarning, match="torch.jit.load"):
        loaded = torch.jit.load(str(path))
    images = random_images((2, 1, 24, 40))
    for shape in WRONG_NOISE_SHAPES:
        with pytest.raises(RuntimeError, match="index out of range"):
            loaded.with_noise_std(torch.from_numpy(images), torch.from_numpy(random_images(shape)))
    for shape in [(1, 1, 1, 1), (2, 1, 1, 40), (1, 1, 24, 1)]:
        std = random_images(shape) * np.float32(0.1)
        out = loaded.with_noise_std(torch.from_numpy(images), torch.from_numpy(std)).numpy()
        assert np.abs(out - denoise(model, images, np.broadcast_to(std, images.shape))).max() < 1e-5
    negative = loaded.with_noise_std(torch.from_numpy(images), torch.full((1, 1, 1, 1), -0.1)).numpy()
    assert np.abs(negative - denoise(model, images)).max() < 1e-5


def test_facts_are_in_torchscript(tmp_path):
    model = make_model("rgb")
    path = md.export_model(model, "torchscript", tmp_path / "a.pt").path
    files = {"masked_denoiser.json": ""}
    with pytest.warns(DeprecationWarning, match="torch.jit.load"):
        torch.jit.load(str(path), _extra_files=files)
    assert Card.from_json(json.loads(files["masked_denoiser.json"])["card"]) == model.card
