"""Tests of `--reader`: the command line opens with plugins of napari what napari opens with them, without napari."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from npe2 import DynamicPlugin

import masked_denoiser as md
from masked_denoiser.cli.main import main
from masked_denoiser.errors import ImageError, JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.batch.outputs import Pair
from masked_denoiser.jobs.batch.prepare import Preparer
from masked_denoiser.jobs.cluster.worker_checks import Run, check_worker
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.resolve_job import resolve_job
from masked_denoiser.jobs.spec.job_file import read_job_file, write_job_file
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.models.file import read_model
from tests.images.readers.plugins import foo_plugin
from tests.images.readers.plugins.foo_plugin import NAME, layer, pixels, write

OPTIONS = md.Options(noise="none", tile=64, intensity=(0.0, 255.0))
SETTINGS = ["--noise", "none", "--tile", "64", "--range", "0", "255", "--threads", "1"]

#: Commands in a new process, in which napari and Qt must not be imported; worker processes find the plugin, too.
SCRIPT = """
import sys
from masked_denoiser.cli.main import main

if __name__ == "__main__":
    model, *settings = sys.argv[1:]
    settings = ["--model", model, *settings]
    codes = [
        main(["info", "in/a.foo", "--reader", "foo-reader"]),
        main(["noise", "estimate", "in/a.foo", "--reader", "foo-reader", "--json"]),
        main(["denoise", "in/a.foo", "a.ome.zarr", "--reader", "foo-reader", *settings, "--select", "Z=1"]),
        main(["denoise", "in/a.foo", "saved.ome.zarr", "--reader", "foo-reader", *settings, "--save-job", "job.json"]),
        main(["run", "job.json"]),
        main(["denoise", "in", "out/", "--reader", "foo-reader", *settings, "--quiet"]),
        main(["denoise", "in/b.foo::two", "two.ome.zarr", *settings, "--workers", "1"]),
    ]
    print(codes, [name for name in ("napari", "qtpy", "PyQt6", "PySide6") if name in sys.modules])
"""


@pytest.fixture(autouse=True)
def no_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "none.yaml"))


@pytest.fixture
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def foo():
    with DynamicPlugin(NAME) as plugin:
        plugin.contribute.reader(foo_plugin.get_reader, filename_patterns=["*.foo"])
        yield


@pytest.fixture
def model(tmp_path):
    tiny_model(1).save(tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "a.foo", layer((2, 70, 80), axis_labels=["z", "y", "x"], scale=[2, 0.5, 0.5], units="um"))


def denoised(array, axes, model):
    return md.denoise(array, axes=axes, model=model, device="cpu", options=OPTIONS)


def result_of(path):
    with open_image(path) as source:
        return np.asarray(source.data[...])


def test_every_way_reads_with_the_plugin_and_without_napari(tmp_path, model, one_thread):
    stack, two = layer((2, 70, 80), axis_labels=["z", "y", "x"]), layer((60, 90), 2, name="two")
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.foo", stack)
    write(tmp_path / "in" / "b.foo", layer((50, 90), 1, name="one"), two)
    source = str(Path(md.__file__).parents[1])
    paths = os.pathsep.join([str(foo_plugin.install(tmp_path / "site")), source])
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", model, *SETTINGS]
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0, 0, 0] []", done.stdout + done.stderr
    assert "reader         foo-reader" in done.stdout
    assert "opened by the napari plugin foo-reader" in done.stderr
    whole = denoised(pixels(stack), "ZYX", model)
    np.testing.assert_array_equal(result_of(tmp_path / "a.ome.zarr"), denoised(pixels(stack)[1:], "ZYX", model))
    np.testing.assert_array_equal(result_of(tmp_path / "saved.ome.zarr"), whole)
    np.testing.assert_array_equal(result_of(tmp_path / "out" / "a.foo.ome.zarr"), whole)
    for name in ("two.ome.zarr", "out/b.foo_two.ome.zarr"):
        np.testing.assert_array_equal(result_of(tmp_path / name), denoised(pixels(two), "YX", model))
    assert (tmp_path / "out" / "b.foo_one.ome.zarr").exists()


def test_python_reads_with_the_plugin(foo, tmp_path, file, model, capsys):
    settings = {"model": model, "reader": NAME, "device": "cpu", "noise": "none", "tile": 64, "intensity": (0.0, 255.0)}
    with pytest.warns(UserWarning, match="opened by the napari plugin foo-reader"):
        md.denoise_file(file, tmp_path / "out.ome.zarr", **settings)
    whole = denoised(result_of(file), "ZYX", model)
    np.testing.assert_array_equal(result_of(tmp_path / "out.ome.zarr"), whole)
    with pytest.warns(UserWarning, match="opened by the napari plugin foo-reader"):
        np.testing.assert_array_equal(np.asarray(md.denoise_lazy(file, **settings)), whole)
    with pytest.warns(UserWarning, match="opened by the napari plugin foo-reader"):
        assert md.estimate_noise(file, reader=NAME) == md.estimate_noise(open_image(file, reader=NAME))
    with Preparer(model, OPTIONS, "cpu", reader=NAME)(Pair(str(file), tmp_path / "b.ome.zarr")) as prepared:
        assert prepared.job.reader == NAME
    for function in (md.denoise_lazy, md.estimate_noise):
        with pytest.raises(ImageError, match="reader 'x' is not installed"):
            function(file, reader="x")
    assert main(["denoise", str(file), "x.ome.zarr", "--reader", "x"]) == 1
    assert "masked-denoiser: reader 'x' is not installed; installed are" in capsys.readouterr().err


def test_a_model_is_fine_tuned_with_the_plugin(foo, tmp_path, model):
    folder, output = tmp_path / "images", tmp_path / "mine.safetensors"
    folder.mkdir()
    for number in range(2):
        write(folder / f"{number}.foo", layer((64, 64), number))
    quick = [
        "--steps",
        "2",
        "--batch",
        "2",
        "--set",
        "patch=16",
        "--set",
        "unseen=[]",
        "--set",
        "keep=last",
        "--device",
        "cpu",
        "--quiet",
    ]
    command = ["fine-tune", str(folder), "--from", model, "--output", str(output), *quick]
    assert main([*command, "--reader", NAME]) == 0
    assert [text[:5] for text in read_model(output).card.data] == ["0.foo", "1.foo"]


def test_a_job_is_resumed_with_the_same_reader(foo, tmp_path, file, model, capsys):
    output = tmp_path / "out.ome.zarr"
    with open_image(file, reader=NAME) as source:
        prepared = prepare_file(source, output, model=model, options=OPTIONS, device="cpu")
        write_job_file(tmp_path / "job.json", prepared.job)
        prepared.pipeline.cancel.set()
        list(prepared.pipeline.run())
    assert Journal.path_for(output).exists()
    assert read_job_file(tmp_path / "job.json").reader == NAME
    command = ["denoise", str(file), str(output), "--model", model, *SETTINGS, "--resume", "--device", "cpu"]
    with DynamicPlugin("another") as plugin:
        plugin.contribute.reader(foo_plugin.get_reader, filename_patterns=["*.foo"])
        assert main([*command, "--reader", "another"]) == 1
    assert "reader was 'foo-reader' and is 'another'" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "job.json"), "--resume"]) == 0
    np.testing.assert_array_equal(result_of(output), denoised(result_of(file), "ZYX", model))
    assert main([*command, "--reader", NAME]) == 0
    assert "already complete" in capsys.readouterr().out


def test_a_job_without_its_reader_says_so(foo, tmp_path, file, model, capsys):
    with open_image(file, reader=NAME) as source:
        job = resolve_job(source, tmp_path / "b.ome.zarr", model=model, options=OPTIONS, device="cpu").job
    without = replace(job, reader="gone-reader")
    write_job_file(tmp_path / "job.json", without)
    assert main(["run", str(tmp_path / "job.json")]) == 1
    assert "reader 'gone-reader' is not installed" in capsys.readouterr().err
    here = Run("run", without.to_json(), ("", b""), "cpu", torch.__version__)
    with pytest.raises(JobError, match=r"the worker on .*: reader 'gone-reader' is not installed.*; install it on all"):
        check_worker(here, without)
    check_worker(here, job)


def test_a_list_reports_what_a_plugin_cannot_read(foo, tmp_path, file, model, capsys):
    write(tmp_path / "b.foo", layer(), fault="read raises")
    arguments = ["denoise", str(tmp_path / "*.foo"), f"{tmp_path / 'out'}/", "--reader", NAME, "--json", "--quiet"]
    assert main([*arguments, "--model", model, *SETTINGS]) == 1
    printed = capsys.readouterr()
    first, second = json.loads(printed.out)["files"]
    assert (first["state"], second["state"]) == ("done", "failed")
    assert second["reason"].startswith("cannot be read by the napari plugin foo-reader (FooError: it is broken)")
