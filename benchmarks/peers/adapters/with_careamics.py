"""Adapter of CAREamics: Noise2Void, trained on the noisy image itself.

The package imports torchvision, for its version and for variational networks, which are not used here. The version that
it needs comes with a CUDA build of torch on PyPI, so that empty modules are imported in its place.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torchmetrics  # noqa: F401 (before the empty modules: it looks for the real torchvision)

if find_spec("torchvision") is None:
    for _name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[_name] = ModuleType(_name)
    sys.modules["torchvision"].__version__ = "0"  # type: ignore[attr-defined]
    sys.modules["torchvision.transforms"].functional = sys.modules[_name]  # type: ignore[attr-defined]

from careamics import CAREamist
from careamics.config.factories import create_advanced_n2v_config

Image = np.ndarray[Any, Any]

#: Sides of images that the network takes are multiples of this.
_GRID = 4

#: As in the examples of the package, with the epochs of its default configuration. 512 x 512 pixels are 4 batches.
_PATCH, _BATCH, _EPOCHS, _STEPS = 64, 16, 30, 4


def noise2void(image: Image, axes: str, modality: str) -> Image:
    """Train on the image for 30 epochs of at most 4 batches, then predict it; planes of a stack are samples."""
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data = np.moveaxis(image, -1, 0) if axes == "YXS" else image
    height, width = data.shape[-2:]
    data = np.pad(data, [(0, 0)] * (data.ndim - 2) + [(0, -side % _GRID) for side in (height, width)], mode="reflect")
    with tempfile.TemporaryDirectory() as folder:
        careamist = _train(data.astype(np.float32), {"YXS": "CYX", "ZYX": "SYX"}.get(axes, axes), "array", Path(folder))
        tile = {"tile_size": (256, 256), "tile_overlap": (48, 48)} if min(image.shape[:2]) > 512 else {}
        result, _ = careamist.predict(data.astype(np.float32), **tile)
    out = np.squeeze(np.stack([np.asarray(part) for part in result]))[..., :height, :width]
    return np.moveaxis(out, 0, -1) if axes == "YXS" else out


def _train(data: Any, axes: str, data_type: str, folder: Path) -> Any:
    configuration = create_advanced_n2v_config(
        experiment_name="peer",
        data_type=data_type,
        axes=axes,
        patch_size=[_PATCH, _PATCH],
        batch_size=_BATCH,
        num_epochs=_EPOCHS,
        num_steps=_STEPS,
        n_channels=3 if "C" in axes else None,
        num_workers=0,  # no further processes: CPU seconds and memory of one process are compared
    )
    careamist = CAREamist(configuration, work_dir=folder, enable_progress_bar=False)
    careamist.train(train_data=data)
    return careamist
