"""The shell command that the dock copies parses to the options of the dock."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.cli.commands.denoise import options_of
from masked_denoiser.cli.main import build_parser
from masked_denoiser.jobs.shell_command import denoise_command, join_words
from masked_denoiser.jobs.spec.options import Options

PARSER = build_parser()
numbers = st.integers(0, 2**40)
reals = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)
OPTIONS = {
    "tile": numbers | st.just("auto"),
    "halo": numbers | st.sampled_from(("default", "exact")),
    "batch": numbers,
    "passes": numbers,
    "std": st.booleans(),
    "seed": numbers,
    "modality": st.sampled_from(("auto", "other", "ct", "mri", "ultrasound", "oct", "xray", "em")),
    "channels": st.sampled_from(("auto", "rgb", "each")),
    "intensity": st.none() | st.tuples(reals, reals),
    "noise": st.sampled_from(("auto", "none")) | words,
    "strength": st.sampled_from((0.5, 1.0, 1.5)),
    "precision": st.sampled_from(("auto", "float32", "bfloat16", "float16")),
    "skip_background": st.booleans(),
    "dtype": st.sampled_from(["same", "float32"]),
    "compiled": st.booleans(),
    "cpu_as_last_resort": st.booleans(),
    "ome_zarr": st.sampled_from(("0.4", "0.5")),
    "on_error": st.sampled_from(("stop", "skip")),
    "anonymize": st.booleans(),
}


def test_strategies_cover_every_option():
    assert set(OPTIONS) == {field.name for field in fields(Options)}


@given(st.builds(Options, **OPTIONS), words, words, words, words, words)
def test_command_parses_to_the_same_options(options, input, output, model, device, select):
    settings = {"model": model, "device": device, "select": select, "axes": "ZYX", "reader": "bioio-czi"}
    settings["scheduler"] = "tcp://a:1"
    line = denoise_command(Path("x" + input), Path("-" + output), options=options, **settings)
    program, *arguments = shlex.split(line)
    assert program == "masked-denoiser"
    parsed = PARSER.parse_args(arguments)
    assert options_of(parsed) == options
    assert {name: getattr(parsed, name) for name in settings} == settings
    assert [*map(Path, parsed.input), Path(parsed.output)] == [Path("x" + input), Path("./-" + output)]


@given(st.lists(words, min_size=1, max_size=4))
def test_powershell_reads_the_same_words(given):
    line = join_words(given, "powershell")
    read = re.findall(r"(?:^|(?<= ))(?:'((?:[^'\u2018-\u201b]|(['\u2018-\u201b])\2)*)'|([^ ']+))(?= |$)", line)
    assert [re.sub("(['\u2018-\u201b])\\1", r"\1", quoted) or plain for quoted, _, plain in read] == given


@given(st.lists(st.text(st.sampled_from('ab "\\&|<>^%(),;='), min_size=1), min_size=1, max_size=4))
def test_cmd_passes_the_same_words(given):
    """The words that a program gets by the rules of the C runtime of Microsoft."""
    assert words_of_c_runtime(join_words(given, "cmd")) == given


def words_of_c_runtime(line):
    """Divide a command line as https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments says."""
    found, word, quoted, at = [], None, False, 0
    while at < len(line):
        backslashes = re.match(r"\\*", line[at:]).end()
        at += backslashes
        character = line[at : at + 1]
        at += 1
        if character == '"':
            word = (word or "") + "\\" * (backslashes // 2)
            if backslashes % 2:
                word += '"'
            else:
                quoted = not quoted
        elif character == " " and not quoted:
            word = (word or "") + "\\" * backslashes if word is not None or backslashes else None
            found += [word] if word is not None else []
            word = None
        else:
            word = (word or "") + "\\" * backslashes + character
    return [*found, word] if word is not None else found


def test_default_values_are_omitted():
    assert denoise_command(Path("a b.tif"), Path("/c.ome.zarr")) == "masked-denoiser denoise 'a b.tif' /c.ome.zarr"
    command = denoise_command(Path("a"), Path("b"), model="m", options=Options(std=True, noise="sigma=2"), select="Z=1")
    assert command == "masked-denoiser denoise a b --model m --select Z=1 --noise sigma=2 --std"
