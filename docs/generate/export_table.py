"""Print the table of docs/export.md: PSNR of exported models on the sample slide, in onnxruntime.

    python docs/generate/export_table.py [folder]

Models are exported into the folder, a temporary one by default. Files that are there already are used.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tifffile
from numpy.typing import NDArray

import masked_denoiser as md
from masked_denoiser.evaluation.metrics import psnr

#: Standard deviation of the noise of the sample slide: see sample_data/README.md.
_STD = 25 / 255

Image = NDArray[np.float32]


def run_onnx(path: Path, batch: Image, std: float = 0.0) -> Image:
    """Return what an exported model makes of images [B, C, H, W], as a program without this package runs it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs: dict[str, Any] = {"image": batch}
    if std:
        inputs["noise_std"] = np.full((1, 1, 1, 1), std, np.float32)
    return np.asarray(session.run(["denoised"], inputs)[0])


def main(folder: Path) -> None:
    """Print one row for each bundled model."""
    noisy, clean = (tifffile.imread(md.sample_path(name)) for name in ("slide", "slide-clean"))
    print("| model | noisy slide | exported | exported, given the noise | `masked-denoiser denoise` |")
    print("| --- | --- | --- | --- | --- |")
    for name in ("general-rgb", "general-gray", "paper-rgb"):
        path = folder / f"{name}.onnx"
        if not path.exists():
            md.export_model(name, "onnx", path)
        scores = [_score(noisy, clean), _exported(path, noisy, clean), "-"]
        if name.startswith("general"):
            scores[2] = _exported(path, noisy, clean, _STD)
        scores.append(_score(md.denoise(noisy, axes="YXS", model=name), clean))
        print(f"| `{name}` | {' | '.join(scores)} |", flush=True)


def _exported(path: Path, noisy: NDArray[np.uint8], clean: NDArray[np.uint8], std: float = 0.0) -> str:
    batch = noisy.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    batch = batch.transpose(1, 0, 2, 3) if "gray" in path.name else batch  # the colours as three gray images
    out = run_onnx(path, np.ascontiguousarray(batch), std)
    image = (out[:, 0] if "gray" in path.name else out[0]).transpose(1, 2, 0)
    rounded = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    tifffile.imwrite(path.with_name(f"{path.stem}{'-given' if std else ''}.tif"), rounded, photometric="rgb")
    return _score(rounded, clean)


def _score(image: Any, clean: NDArray[np.uint8]) -> str:
    return f"{psnr(np.asarray(image) / 255.0, clean / 255.0):.2f} dB"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary))
