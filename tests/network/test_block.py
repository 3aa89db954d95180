"""A block against its reference, in values and gradients, for every implementation of attention."""

import pytest
import torch
from benchmarks.plain import PlainBlock
from torch.autograd import gradcheck

from masked_denoiser.network import block as block_module
from masked_denoiser.network.attention import attend_all, attend_fused
from masked_denoiser.network.block import SwinBlock
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import HashedTokenMask, RandomTokenMask
from masked_denoiser.network.windows import make_windows, permute_rows, select_rows


def random_block(shift, bias=True):
    torch.manual_seed(1)
    block = SwinBlock(SwinConfig(embed=24, depths=(1,), heads=(4,), qkv_bias=bias), 4, 3, shift)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return block


class Uneven:
    """Token mask whose windows keep different numbers of tokens."""

    def keep(self, block, shift, window, shape):
        return (torch.rand(*shape, 1, generator=torch.Generator().manual_seed(0)) < 0.3).float()


MASKS = {
    "none": lambda: None,
    "hashed": lambda: HashedTokenMask(0.75, 0, 0, ((0, 0), (8, 16))),
    "random": lambda: RandomTokenMask(0.6, torch.Generator().manual_seed(0)),
    "few": lambda: HashedTokenMask(0.2, 0, 0, ((0, 0),)),
    "uneven": Uneven,
}


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("mask", MASKS)
@torch.inference_mode()
def test_gathered_rows_equal_scattered_ones(mask, shift, monkeypatch):
    """Devices other than CPU and CUDA cannot all write rows at given positions; the results are the same."""
    block, x = random_block(shift), torch.randn(2, 24, 32, 24)
    scattered = block(x, MASKS[mask]())
    monkeypatch.setattr(block_module, "_SCATTERING_DEVICES", ())
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "index_copy_", None)
        gathered = block(x, MASKS[mask]())
    assert torch.allclose(gathered, scattered, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 24, 32), (2, 8, 8)], ids=str)
@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("mask", MASKS)
def test_block_and_gradients_match_the_reference(mask, shift, shape):
    block = random_block(shift)
    grads = []
    outs = []
    for module in (block, PlainBlock(block)):
        torch.manual_seed(0)
        x = torch.randn(*shape, 24, requires_grad=True)
        out = module(x, MASKS[mask]())
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        grads.append({"x": x.grad} | {name: p.grad for name, p in block.named_parameters()})
        outs.append(out.detach())
        block.zero_grad()
    assert torch.allclose(*outs, atol=1e-5, rtol=1e-5)
    for name, ours in grads[0].items():
        assert torch.allclose(ours, grads[1][name], atol=1e-4 * float(grads[1][name].abs().max())), name


@pytest.mark.parametrize("at_once", [1, 3, 64])
@pytest.mark.parametrize("bias", [True, False])
def test_window_chunking_does_not_change_the_result(monkeypatch, at_once, bias):
    block = random_block(4, bias)
    x = torch.randn(2, 24, 32, 24)
    monkeypatch.setattr(block_module, "_CPU_WINDOWS", at_once)
    with torch.inference_mode():
        out, expected = block(x, MASKS["hashed"]()), PlainBlock(block)(x, MASKS["hashed"]())
    assert torch.allclose(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mask", ["hashed", "uneven"])
def test_masked_tokens_influence_no_other_token(mask):
    block = random_block(0)
    tokens = MASKS[mask]()
    keep = tokens.keep(3, 0, 8, (2, 8, 8))[0, ..., 0].bool()
    x = torch.randn(2, 8, 8, 24, requires_grad=True)
    for row, column in ((r, c) for r in range(8) for c in range(0, 8, 3)):
        others = torch.ones(1, 8, 8, 1)
        others[0, row, column] = 0
        (grad,) = torch.autograd.grad((block(x, tokens) * others)[:1].square().sum(), x)
        assert bool(grad[0, row, column].any()) == bool(keep[row, column])


def test_fused_attention_matches_explicit_attention():
    torch.manual_seed(0)
    qkv, bias = torch.randn(5, 64, 3 * 20), torch.randn(2, 64, 64)
    assert torch.allclose(attend_fused(qkv, bias, 0.3), attend_all(qkv, bias, 0.3), atol=1e-5)


def test_large_biases_keep_all_masked_tokens():
    """Masked tokens contribute even where their biases are far below the largest of their head."""
    block = random_block(0)
    with torch.no_grad():
        block.attn.relative_position_bias_table.mul_(60)
    x = torch.randn(2, 16, 16, 24)
    with torch.inference_mode():
        out, expected = block(x, MASKS["hashed"]()), PlainBlock(block)(x, MASKS["hashed"]())
    assert torch.allclose(out, expected, atol=1e-4, rtol=1e-4)


def test_row_permutation_has_correct_gradients():
    windows = make_windows((1, 16, 16), 8, 4, torch.device("cpu"))
    x = torch.randn(256, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: permute_rows(x, windows.order, windows.inverse), x[:256])
    assert gradcheck(lambda x: select_rows(x, torch.tensor([5, 2, 200])), x)
    assert torch.equal(x[windows.order][windows.inverse], x)
