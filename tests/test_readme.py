"""README is part of the program: its Python runs, its commands parse, its targets exist."""

import re
import shlex
from pathlib import Path

import pytest

import masked_denoiser
from masked_denoiser.cli.main import build_parser
from masked_denoiser.evaluation.tile_error import tiny_model

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)


def test_python_in_readme_runs(monkeypatch, capsys):
    whole = masked_denoiser.denoise

    def quickly(*given, **options):
        return whole(*given, model=tiny_model(), **({"noise": "none"} | options))

    monkeypatch.setattr(masked_denoiser, "denoise", quickly, raising=False)
    code = [text for language, text in BLOCKS if language == "python"]
    assert code
    for text in code:
        exec(text, {})  # our own README
    assert "YXS (512, 512, 3) uint8" in capsys.readouterr().out


def commands():
    lines = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
    return [line for line in lines if line.startswith("masked-denoiser")]


@pytest.mark.parametrize("line", commands())
def test_commands_in_readme_are_understood(line):
    assert build_parser().parse_args(shlex.split(line, comments=True)[1:]).handler


def test_make_targets_in_readme_exist():
    targets = re.findall(r"^(\w[\w-]*):", (Path(__file__).parents[1] / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"\bmake ([a-z-]+)", TEXT)
    assert {"demo", "test"} <= set(named) <= set(targets)
