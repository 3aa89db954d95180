"""Messages of the Python interface name its parameters, and never a flag of the command line."""

import re

import numpy as np
import pytest

import masked_denoiser as md
from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.jobs.spec.parameter_names import with_parameters

UNCLEAR = np.zeros((2,) * 7 + (40, 50))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: md.open_image(UNCLEAR), "set axes, or"),
        (lambda: md.estimate_noise(UNCLEAR), "set axes, or"),
        (lambda: md.fine_tune("general-gray", [np.zeros((64, 64))], axes="YX", way="pairs"), "way='pairs'"),
        (lambda: md.denoise(UNCLEAR), "set axes, or"),
    ],
)
def test_errors_name_parameters(call, expected):
    with pytest.raises(MaskedDenoiserError) as caught:
        call()
    assert expected in str(caught.value)
    assert not re.search(r"--[a-z]", str(caught.value))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("computes it slowly; add --set precision=float32", "computes it slowly; add precision='float32'"),
        ("a stack; set --axes ZYX if they are slices", "a stack; set axes='ZYX' if they are slices"),
        ("start again with --overwrite", "start again with overwrite=True"),
        ("decompress it with gdcmconv --raw", "decompress it with gdcmconv --raw"),
    ],
)
def test_flags_become_parameters(message, expected):
    assert with_parameters(message) == expected


def test_public_names_are_the_same_object_each_time():
    assert md.open_image is md.open_image
    assert "axes" in md.open_image.__doc__
