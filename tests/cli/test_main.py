import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr

from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference.device import choose_device
from masked_denoiser.samples import sample_path
from tests.models.test_models import PAPER_LIKE, reference_state

COMMAND = [sys.executable, "-m", "masked_denoiser"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    tiny_model().save(path)
    return str(path)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8))
    return path


def folder_bytes(path):
    """Return the content of every file of an output by its relative path."""
    files = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


@pytest.mark.parametrize("suffix", [".ome.zarr", pytest.param(".ome.tif", marks=pytest.mark.long)])
def test_killed_job_resumes_to_identical_bytes(tmp_path, tiny, suffix):
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, np.random.default_rng(0).integers(0, 65535, (2, 256, 320), dtype=np.uint16))
    arguments = ["--model", tiny, "--tile", "64", "--quiet", "--axes", "ZYX", "--device", "cpu"]
    uninterrupted, killed = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    subprocess.run([*COMMAND, "denoise", str(source), str(uninterrupted), *arguments], check=True)
    for lines in (2, 11, 25):  # of a header and 40 pieces
        kill_at(lines, [*COMMAND, "denoise", str(source), str(killed), *arguments, "--resume"], journal=killed)
    assert main(["denoise", str(source), str(killed), *arguments, "--resume"]) == 0
    assert folder_bytes(killed) == folder_bytes(uninterrupted)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in.tif", uninterrupted.name, killed.name])


def kill_at(lines, command, journal):
    """Start a command, and kill it as soon as its journal has this number of lines."""
    path = journal.with_name(journal.name + ".journal")
    process = subprocess.Popen(command)
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.002)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child alone")
def test_interrupted_job_can_be_resumed(tmp_path, tiny, image):
    output = tmp_path / "out.ome.zarr"
    command = [*COMMAND, "denoise", str(image), str(output), "--model", tiny, "--tile", "16", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = Path(f"{output}.journal")
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert "continue with --resume" in out
    assert main(["denoise", str(image), str(output), "--model", tiny, "--tile", "16", "--quiet", "--resume"]) == 0


def peak_memory(side, folder, model):
    """Return the peak resident memory, in bytes, of denoising side x side RGB pixels, zarr to OME-Zarr."""
    source = folder / f"{side}.zarr"
    array = zarr.create_array(source, shape=(side, side, 3), chunks=(512, 512, 3), dtype="uint8")
    rng = np.random.default_rng(0)
    for y in range(0, side, 512):
        array[y : y + 512] = (
            rng.integers(0, 256, (512, 512, 3), dtype=np.uint8).repeat(side // 512, axis=1).reshape(512, side, 3)
        )
    # ru_maxrss only on macOS: on Linux a child inherits the peak of its parent.
    expression = (
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
        if sys.platform == "darwin"
        else "int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) * 1024"
    )
    run = "from masked_denoiser.cli.main import main; assert main(sys.argv[1:]) == 0"
    code = f"import re, resource, sys; {run}; print({expression})"
    output = folder / f"{side}.ome.zarr"
    command = ["denoise", str(source), str(output), "--model", model, "--quiet", "--device", "cpu", "--noise", "none"]
    process = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    shutil.rmtree(source)
    shutil.rmtree(output)
    return int(process.stdout)


def check_flat_memory(side, tmp_path, stub):
    full, half = peak_memory(side, tmp_path, stub), peak_memory(side // 2, tmp_path, stub)
    print(f"\npeak memory: {full / 1e6:.0f} MB for {side} x {side} x 3, {half / 1e6:.0f} MB for half the side")
    assert full < 1.2e9
    assert full < 1.2 * half  # for four times the number of pixels


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak of memory this way")
def test_peak_memory_is_independent_of_image_size(tmp_path, stub):
    check_flat_memory(2048, tmp_path, stub)


@pytest.mark.long
def test_peak_memory_of_16384_pixel_slide(tmp_path, stub):
    check_flat_memory(16384, tmp_path, stub)


@pytest.fixture(scope="session")
def stub(tmp_path_factory):
    """Return the path of a minimal network: memory is measured for the pipeline, not the network."""
    from masked_denoiser.models.card import Card
    from masked_denoiser.models.file import Model
    from masked_denoiser.network.config import SwinConfig
    from masked_denoiser.network.swin import MaskedSwin

    config = SwinConfig(embed=4, depths=(1,), heads=(1,), mlp_ratio=1.0)
    path = tmp_path_factory.mktemp("models") / "stub.safetensors"
    Model(Card(name="stub", architecture=config), MaskedSwin(config).state_dict()).save(path)
    return str(path)


def error_of(capsys, *arguments):
    """Run a command that must fail with a one-line error, and return that line."""
    code = main([str(a) for a in arguments])
    error = capsys.readouterr().err.strip()
    assert code == 1
    assert error.startswith("masked-denoiser: ")
    assert "\n" not in error
    return error


def bad_inputs(folder):
    """Write files that cannot be denoised, and return a part of the error message of each."""
    valid = folder / "whole.tif"
    tifffile.imwrite(valid, np.zeros((64, 64), np.uint8), tile=(16, 16))
    (folder / "torn.tif").write_bytes(valid.read_bytes()[:2000])
    (folder / "empty.tif").write_bytes(b"")
    (folder / "text.txt").write_text("hello")
    (folder / "plain").mkdir()
    tifffile.imwrite(folder / "complex.tif", np.zeros((8, 8), np.complex64))
    zarr.create_array(folder / "nothing.zarr", shape=(0, 5), dtype="uint8")
    return {
        "missing.tif": "missing.tif",
        "torn.tif": "torn.tif",
        "empty.tif": "empty",
        "text.txt": "text.txt",
        "plain": "plain",
        "complex.tif": "complex64",
        "nothing.zarr": "0",
    }


def test_bad_input_is_one_line_error_without_output(tmp_path, tiny, capsys):
    for name, message in bad_inputs(tmp_path).items():
        before = sorted(tmp_path.rglob("*"))
        assert message in error_of(capsys, "denoise", tmp_path / name, tmp_path / "out.ome.zarr", "--model", tiny)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axes", "ZYX"], "ZYX"),
        (["--axes", "YQ"], "Q"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--tile", "100"], "tile side 100"),
        (["--passes", "2", "--std", "--halo", "9"], "halo 9"),
        (["--range", "7", "3"], "LOW < HIGH"),
        (["--threads", "0"], "--threads is 0"),
        (["--resume", "--overwrite"], "only one"),
        (["--level", "3"], "level"),
    ],
)
def test_bad_options_are_one_line_errors(tmp_path, tiny, image, capsys, arguments, message):
    output = tmp_path / "out.ome.zarr"
    assert message in error_of(capsys, "denoise", image, output, "--model", tiny, *arguments)
    assert sorted(tmp_path.iterdir()) == [image]


def test_bad_outputs_are_one_line_errors(tmp_path, tiny, image, capsys, monkeypatch):
    taken = tmp_path / "taken.ome.tif"
    shutil.copy(image, taken)
    before = image.read_bytes()
    for output, message in (
        (taken, "exists"),
        (image, "input"),
        (tmp_path / "out.jpg", ".ome.zarr"),
        (tmp_path / "nowhere" / "out.ome.zarr", "nowhere"),
    ):
        assert message in error_of(capsys, "denoise", image, output, "--model", tiny)
    assert "input" in error_of(capsys, "denoise", image, image, "--model", tiny, "--overwrite")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    assert "MB are free" in error_of(capsys, "denoise", image, tmp_path / "out.ome.zarr", "--model", tiny)
    assert image.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [image, taken]


def test_wrong_usage_exits_with_2(capsys):
    for arguments in ([], ["denoise"], ["denoise", "a", "b", "--halo", "much"], ["enhance"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert "neither a number" in capsys.readouterr().err


def test_json_output(tmp_path, tiny, image, capsys):
    output = tmp_path / "out.ome.tif"
    command = ["denoise", str(image), str(output), "--model", tiny, "--tile", "32", "--json", "--quiet"]
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["complete"], summary["tiles"]) == (True, 12)
    assert main([*command, "--resume"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert summary["noise"].startswith("strong noise")
    assert (again["job"], again["noise"]) == (summary["job"], summary["noise"])
    assert main(["info", str(output), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["axes"], facts["shape"], facts["dtype"]) == ("YX", [96, 128], "uint8")


def test_standard_deviation_is_written_to_second_output(tmp_path, tiny, image):
    output = tmp_path / "out.ome.zarr"
    settings = ["--model", tiny, "--tile", "32", "--passes", "3", "--std", "--quiet"]
    assert main(["denoise", str(image), str(output), *settings]) == 0
    with open_image(tmp_path / "out_std.ome.zarr") as std:
        assert std.dtype == np.float32
        assert 0 < np.asarray(std.data[:]).mean() < 255


def test_models_are_imported_listed_shown_and_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("masked_denoiser.models.catalogue.user_folder", lambda: tmp_path / "models")
    monkeypatch.setattr("masked_denoiser.cli.commands.models.user_folder", lambda: tmp_path / "models")
    torch.save({"params": reference_state(PAPER_LIKE)}, tmp_path / "published.pth")
    assert main(["models", "import", str(tmp_path / "published.pth"), "--name", "mine", "--licence", "MIT"]) == 0
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == 0
    assert "mine" in [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert main(["models", "list"]) == 0
    starred = [line for line in capsys.readouterr().out.splitlines() if line.startswith("*")]
    assert [line.split()[1] for line in starred[:-1]] == ["general-gray", "general-rgb"]
    assert starred[-1] == "* is a default model: general-rgb for RGB images, general-gray for all others."
    assert main(["models", "info", "mine", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["licence"], card["architecture"]["embed"]) == ("MIT", 12)
    assert "exists" in error_of(capsys, "models", "import", tmp_path / "published.pth", "--name", "mine")
    command = ["models", "export", "mine", "--to", "checkpoint", "--output", str(tmp_path / "back.pth")]
    assert main(command) == 0
    assert torch.load(tmp_path / "back.pth", weights_only=True)["params"].keys()


def test_doctor_reports_environment_and_self_test(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["torch"] == torch.__version__
    assert facts["device"] == choose_device("auto")[1]
    assert facts["self-test"].startswith("passed")


def test_demo_writes_picture(tmp_path, tiny, capsys):
    assert main(["demo", "--output", str(tmp_path), "--model", tiny, "--no-window"]) == 0
    assert "dB before" in capsys.readouterr().out
    assert (tmp_path / "before_after.png").stat().st_size > 100_000
    with open_image(tmp_path / "slide_denoised.ome.zarr") as result, open_image(sample_path("slide")) as slide:
        assert result.size_yx == slide.size_yx


def test_help_and_import_do_not_import_torch():
    code = (
        "import sys, masked_denoiser\n"
        "from masked_denoiser.cli.main import build_parser\n"
        "build_parser().format_help()\n"
        "print([m for m in ('torch', 'zarr', 'tifffile', 'napari', 'dask') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert process.stdout.strip() == "[]"


def test_damaged_tile_is_one_line_error(tmp_path, tiny, capsys):
    path = tmp_path / "damaged.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    tifffile.imwrite(path, pixels, compression="zlib", tile=(16, 16))
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[9]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    error = error_of(capsys, "denoise", path, tmp_path / "out.ome.zarr", "--model", tiny, "--tile", "16", "--quiet")
    assert "damaged.tif: is damaged at rows" in error
    assert "copy the file again" in error


@pytest.mark.parametrize(("axes", "name"), [("YXS", "general-rgb"), ("YX", "general-gray"), ("CYX", "general-gray")])
def test_default_model_depends_on_image(tmp_path, axes, name):
    shape = {"Y": 64, "X": 72, "S": 3, "C": 3}
    noisy = np.clip(np.random.default_rng(0).normal(120, 20, [shape[letter] for letter in axes]), 0, 255)
    photometric = "rgb" if axes == "YXS" else "minisblack"
    tifffile.imwrite(tmp_path / "in.tif", noisy.astype(np.uint8), photometric=photometric)
    output = tmp_path / "out.ome.zarr"
    command = ["denoise", str(tmp_path / "in.tif"), str(output), "--axes", axes, "--device", "cpu", "--quiet"]
    assert main(command) == 0
    with open_image(output) as result:
        remaining = np.asarray(result.data).astype(float).std() / noisy.std()
    assert remaining < 0.35  # bundled weights remove most of the noise of a uniform image
    assert zarr.open(output).attrs["masked_denoiser"]["model"] == name


def test_info_plan_equals_executed_job(tmp_path, tiny, capsys):
    rng = np.random.default_rng(0)
    pixels = rng.normal(230, 3, (96, 128)).round().astype(np.uint8)
    pixels[40:90, 70:110] = rng.integers(0, 120, (50, 40))
    image = tmp_path / "slide.tif"
    tifffile.imwrite(image, pixels)
    options = ["--model", tiny, "--tile", "32", "--halo", "8", "--skip-background", "--noise", "sigma=3"]
    assert main(["info", str(image), "--plan", "--json", *options]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert main(["denoise", str(image), str(tmp_path / "o.ome.zarr"), *options, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (plan["tiles"], plan["noise"]) == (summary["tiles"], summary["noise"])
    assert 0 < plan["background"] * plan["tiles"] == summary["skipped"] < 12
    assert set(summary["waits"]) == {"reading", "computing", "writing", "reads", "writes", "device"}
    preview = tmp_path / "map.png"
    assert main(["info", str(image), "--plan", *options, "--preview", str(preview)]) == 0
    assert preview.read_bytes().startswith(b"\x89PNG")
    assert "exists" in error_of(capsys, "info", image, "--plan", *options, "--preview", preview)
    assert "--skip-background" in error_of(capsys, "info", image, "--plan", "--preview", tmp_path / "other.png")
    capsys.readouterr()
    assert main(["info", str(image), "--plan", *options]) == 0
    text = capsys.readouterr().out
    assert "12 of 32 x 32 pixels" in text
    assert "MiB" in text
