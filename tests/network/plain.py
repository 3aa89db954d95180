"""Reference implementation of SwinIR, masked or not: slow and close to the papers' formulas.

It reads a checkpoint's tensors by name, loops over windows in float64, and shares no code with the package:
the hash that selects the masked tokens uses unsigned integers here and signed ones there.
"""

import numpy as np

from masked_denoiser.network.masks import kept_tokens


def conv(x, weight, bias):
    """Convolve [C, H, W] with zero padding, as a sum over the taps of the kernel."""
    k = weight.shape[-1]
    p = k // 2
    padded = np.pad(x, ((0, 0), (p, p), (p, p)))
    height, width = x.shape[1:]
    out = np.zeros((weight.shape[0], height, width)) + bias[:, None, None]
    for i in range(k):
        for j in range(k):
            out += np.einsum("oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + height, j : j + width])
    return out


def norm(x, weight, bias):
    """Apply layer norm over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def erf(x):
    from math import erf as scalar_erf

    return np.vectorize(scalar_erf)(x)


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def attend(tokens, places, t, prefix, heads, window):
    """Apply attention among tokens [N, C] at positions [N, 2] inside one window."""
    n, c = tokens.shape
    qkv = tokens @ t[prefix + "qkv.weight"].T + t.get(prefix + "qkv.bias", 0.0)
    q, k, v = qkv.reshape(n, 3, heads, c // heads).transpose(1, 2, 0, 3)
    table = t[prefix + "relative_position_bias_table"]
    out = np.empty((heads, n, c // heads))
    for h in range(heads):
        logits = q[h] @ k[h].T / np.sqrt(c // heads)
        for i in range(n):
            for j in range(n):
                dy, dx = places[i] - places[j] + window - 1
                logits[i, j] += table[dy * (2 * window - 1) + dx, h]
        e = np.exp(logits - logits.max(1, keepdims=True))
        out[h] = e / e.sum(1, keepdims=True) @ v[h]
    joined = out.transpose(1, 0, 2).reshape(n, c)
    return joined @ t[prefix + "proj.weight"].T + t[prefix + "proj.bias"]


def block(x, t, prefix, heads, window, shift, keep):
    """Apply a Swin block to [H, W, C]; windows start at -shift and end at the image border."""
    height, width, _ = x.shape
    y = norm(x, t[prefix + "norm1.weight"], t[prefix + "norm1.bias"])
    attended = np.zeros_like(y)
    for top in range(-shift, height, window):
        for left in range(-shift, width, window):
            rows = np.arange(max(top, 0), min(top + window, height))
            cols = np.arange(max(left, 0), min(left + window, width))
            at = np.array([(r, c) for r in rows for c in cols])
            tokens = y[at[:, 0], at[:, 1]].copy()
            if keep is not None:
                chosen = keep((top + shift) // window, (left + shift) // window)
                inside = (at[:, 0] - top) * window + at[:, 1] - left
                tokens[~chosen[inside]] = 0.0
            attended[at[:, 0], at[:, 1]] = attend(tokens, at, t, prefix + "attn.", heads, window)
    x = x + attended
    y = norm(x, t[prefix + "norm2.weight"], t[prefix + "norm2.bias"])
    hidden = gelu(y @ t[prefix + "mlp.fc1.weight"].T + t[prefix + "mlp.fc1.bias"])
    return x + hidden @ t[prefix + "mlp.fc2.weight"].T + t[prefix + "mlp.fc2.bias"]


def residual(x, t, prefix):
    """Apply the convolution of a group to [H, W, C]: one, or three with leaky ReLUs in between."""
    y = x.transpose(2, 0, 1)
    if prefix + ".weight" in t:
        y = conv(y, t[prefix + ".weight"], t[prefix + ".bias"])
    else:
        for i in (0, 2, 4):
            y = conv(y, t[f"{prefix}.{i}.weight"], t[f"{prefix}.{i}.bias"])
            if i < 4:
                y = np.where(y > 0, y, 0.2 * y)
    return y.transpose(1, 2, 0)


def network(image, tensors, *, depths, heads, window, mean, global_skip, body_skip, mask=0.0, seed=0, number=0):
    """Apply the whole network to an image [C, H, W] in [0, 1]."""
    t = {key: np.asarray(value, dtype=np.float64) for key, value in tensors.items()}
    x = image - np.asarray(mean)[:, None, None]
    first = conv(x, t["conv_first.weight"], t["conv_first.bias"]).transpose(1, 2, 0)
    y = norm(first, t["patch_embed.norm.weight"], t["patch_embed.norm.bias"])
    index = 0
    for group, depth in enumerate(depths):
        z = y
        for b in range(depth):
            prefix = f"layers.{group}.residual_group.blocks.{b}."
            shift = window // 2 if b % 2 else 0
            z = block(z, t, prefix, heads[group], window, shift, _keeper(mask, seed, number, index, window))
            index += 1
        y = y + residual(z, t, f"layers.{group}.conv")
    y = residual(norm(y, t["norm.weight"], t["norm.bias"]), t, "conv_after_body")
    y = first + y if body_skip else y
    out = conv(y.transpose(2, 0, 1), t["conv_last.weight"], t["conv_last.bias"])
    return (x + out if global_skip else out) + np.asarray(mean)[:, None, None]


def _keeper(mask, seed, number, index, window):
    if not mask:
        return None

    def keep(row, col):
        rows, cols = np.array([row]), np.array([col])
        return hashed_windows((seed, number, index), rows, cols, window, kept_tokens(mask, window))[0, 0]

    return keep


def hashed_windows(counters, rows, cols, window, kept):
    """Select the tokens with the `kept` smallest hashes of each window: [rows, cols, window * window] bool."""
    state = np.zeros((), dtype=np.uint64)
    for counter in counters:
        state = _mix(state, np.asarray(counter, dtype=np.uint64))
    per_row = _mix(state, rows.astype(np.uint64))
    per_window = _mix(per_row[:, None], cols.astype(np.uint64)[None, :])
    hashes = _mix(per_window[..., None], np.arange(window * window, dtype=np.uint64))
    smallest = np.argpartition(hashes, kept - 1, axis=-1)[..., :kept]
    keep = np.zeros(hashes.shape, dtype=np.bool_)
    np.put_along_axis(keep, smallest, True, axis=-1)
    return keep


def _mix(state, counter):
    """Compute one step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), keyed by a counter."""
    with np.errstate(over="ignore"):
        z = np.asarray((state ^ counter) + np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
