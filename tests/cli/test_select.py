"""Tests of `--select`: a part of an input on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch

import masked_denoiser as md
from masked_denoiser.cli.main import main
from masked_denoiser.images.open import open_image
from masked_denoiser.images.selection import crop, parse_selection
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.swin import MaskedSwin

OPTIONS = md.Options(noise="none", tile=64, intensity=(0.0, 999.0))
SETTINGS = ["--noise", "none", "--tile", "64", "--range", "0", "999", "--quiet"]


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    config = SwinConfig(channels=1, embed=12, depths=(2,), heads=(2,), mean=(0.0,))
    Model(Card("tiny", config), MaskedSwin(config).state_dict()).save(tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


@pytest.fixture
def stack(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 999, (5, 70, 80), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels, metadata={"axes": "ZYX"}, photometric="minisblack")
    return pixels


def test_selection_is_denoised_and_described(tmp_path, model, stack, capsys):
    input, output = str(tmp_path / "in.tif"), tmp_path / "out.ome.zarr"
    part = ["--select", "Z=3,Y=10:60"]
    assert main(["denoise", input, str(output), "--model", model, *SETTINGS, *part]) == 0
    with open_image(output) as result:
        expected = md.denoise(stack[3:4, 10:60], axes="ZYX", model=model, options=OPTIONS)
        np.testing.assert_array_equal(np.asarray(result.data), expected)
        assert result.origin == {"Z": 3.0, "Y": 10.0}
    assert main(["info", input, "--json", *part]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["shape"], facts["selection"]) == ([1, 50, 80], "Z=3,Y=10:60")
    assert main(["noise", "estimate", input, "--select", "Z=7"]) == 1
    assert "Z=7 extends beyond the image; Z has positions 0 to 4" in capsys.readouterr().err


def test_resume_with_another_selection_is_refused(tmp_path, model, stack, capsys):
    input, output = str(tmp_path / "in.tif"), tmp_path / "out.ome.zarr"
    with open_image(input) as source:
        prepared = prepare_file(crop(source, parse_selection("Z=3")), output, model=model, options=OPTIONS)
        prepared.pipeline.cancel.set()
        list(prepared.pipeline.run())
    assert Journal.path_for(output).exists()
    command = ["denoise", input, str(output), "--model", model, *SETTINGS, "--resume", "--select"]
    assert main([*command, "Z=2"]) == 1
    assert "selection was 'Z=3' and is 'Z=2'" in capsys.readouterr().err
    assert main([*command, "Z=-2"]) == 0
