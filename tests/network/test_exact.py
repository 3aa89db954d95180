"""Full float32 precision, whichever of torch's settings the process had."""

import subprocess
import sys

import pytest

PROGRAM = """
import torch
from masked_denoiser.network.exact import exact_float32
backends = torch.backends
{setting}
OPERATIONS = [backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv]
before = [operation.fp32_precision for operation in OPERATIONS]
for _ in range(2):
    with exact_float32(), exact_float32():
        assert [operation.fp32_precision for operation in OPERATIONS] == ["ieee"] * 4
        assert not backends.cudnn.allow_tf32 and not backends.cuda.matmul.allow_tf32
    assert [operation.fp32_precision for operation in OPERATIONS] == before
"""


@pytest.mark.parametrize(
    "setting",
    [
        "torch.set_float32_matmul_precision('medium')",
        "backends.fp32_precision = 'tf32'; backends.cudnn.conv.fp32_precision = 'ieee'",
        "backends.cuda.matmul.fp32_precision = 'tf32'; backends.cudnn.rnn.fp32_precision = 'ieee'",
    ],
)
def test_precision_is_full_and_then_as_before(setting):
    # A process of its own: torch has no way back from settings of single operations.
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setting=setting)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
