"""What a terminal does to a command: an encoding that lacks a character, and Ctrl-C before the command is loaded."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from masked_denoiser.cli import main as entry
from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.tile_error import tiny_model


def test_characters_that_the_console_lacks_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, model = tmp_path / "日本.tif", tmp_path / "tiny.safetensors"
    tifffile.imwrite(image, np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8))
    tiny_model().save(model)
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, encoding="cp1252"))
    output = tmp_path / "日本.ome.tif"
    assert main(["denoise", str(image), str(output), "--model", str(model), "--device", "cpu"]) == 0
    sys.stdout.flush()
    assert output.is_file()
    assert rb"wrote " in console.getvalue()
    assert rb"\u65e5\u672c.ome.tif" in console.getvalue()


def test_interrupt_while_the_command_is_loaded_cancels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "import_module", interrupt)
    try:
        assert main(["doctor"]) == 130
    except KeyboardInterrupt:  # which would end the whole run of pytest
        pytest.fail("the interrupt was not handled")
    assert capsys.readouterr().err == "cancelled\n"
