"""The table of options: every option reaches the command line, the dock and the documentation."""

import json
import re
import runpy
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from masked_denoiser.cli.main import build_parser
from masked_denoiser.errors import JobError
from masked_denoiser.jobs.spec.options import OPTIONS, Options, flag_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.name)
def test_option_has_flag_default_and_choices(option):
    arguments = build_parser().parse_args(["denoise", "in.tif", "out.ome.tif"])
    assert getattr(arguments, option.name) == getattr(Options(), option.name) == option.default
    hint = get_type_hints(Options)[option.name]
    words = {word for part in (hint, *get_args(hint)) for word in get_args(part) if isinstance(word, str)}
    words |= {word for word in get_args(hint) if isinstance(word, str)}
    assert words == set(option.choices)


def test_options_page_is_current():
    page = runpy.run_path(str(ROOT / "docs" / "generate" / "options_page.py"))["page"]()
    assert (ROOT / "docs" / "options.md").read_text() == page
    assert all(flag_of(option) in page for option in OPTIONS.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": 12}, "noise is 12; give text, such as 'sigma=20'"),
        ({"noise": None}, "noise is None; give text"),
        ({"strength": "1"}, "strength is '1'; give a number, such as 1.0"),
        ({"passes": 1.5}, "passes is 1.5; give a whole number, such as 1"),
        ({"passes": True}, "passes is True; give a whole number"),
        ({"intensity": 5}, "intensity is 5; give two numbers, such as (0, 255)"),
        ({"intensity": (0,)}, "intensity is (0,); give two numbers"),
        ({"intensity": "ab"}, "intensity is 'ab'; give two numbers"),
        ({"strength": 10**400}, "strength is too large for a number"),
        ({"std": "yes"}, "std is 'yes'; give True or False"),
        ({"tile": 2.5}, "tile is 2.5; give a whole number or text"),
    ],
)
def test_values_of_another_type_are_refused(values, message):
    with pytest.raises(JobError, match=re.escape(message)):
        Options(**values)


def test_numbers_of_numpy_are_numbers():
    options = Options(passes=np.int64(2), strength=np.float32(1), tile=np.int32(128), intensity=(np.uint8(1), 2))
    assert Options(intensity=np.percentile([1, 2, 3], (0, 100))).intensity == (1.0, 3.0)
    values = [options.passes, options.strength, options.tile, options.intensity]
    assert json.loads(json.dumps(values)) == [2, 1.0, 128, [1.0, 2.0]]
