"""What a user asks for: the options of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from masked_denoiser.denoising.noise_settings import AUTO
from masked_denoiser.images.planes import Channels
from masked_denoiser.images.writers.layout import OmeZarr
from masked_denoiser.inference.precision import AskedPrecision

#: What becomes of places of the input that cannot be read.
OnError = Literal["stop", "skip"]


#: Data type of the result: that of the image, or float32 for what its integers cannot hold.
OutputDtype = Literal["same", "float32"]


@dataclass(frozen=True)
class Options:
    """What a user asks for, beside image and model.

    Attributes:
        tile: side of the square that is written at once, in pixels; "auto" measures once which tile and batch are
            fastest for model and device (`inference.tune_tile`), which takes up to about 20 s, and remembers it.
        halo: context read around a tile in pixels; "default", or "exact" for whole-image equality.
        batch: tiles denoised at once; 0 lets the device decide.
        passes: runs with different attention masks whose mean is the result.
        std: also write the standard deviation over the passes, in intensity units.
        seed: of the attention masks and of the sample that fixes the intensity range.
        channels: "auto" takes RGB as one plane and all else channel by channel; without a named model also RGB whose
            colours show different things, see `denoising.colours`.
        intensity: (low, high) that the network sees as 0 and 1; None measures them.
        noise: "auto" measures it and does what is best for it; "none" gives the image to the network as it is; or the
            noise in units of the image, such as "sigma=12" or "gain=2.1,offset=100,read=5,correlation=2".
        strength: how strong noise is taken to be, times what was measured or given: below 1 removes less, above 1
            more; 0.5 to 2.
        precision: of the network's products: "float32", "bfloat16", "float16", or "auto" for what was measured to be
            fastest on this device; at most 0.02 dB are lost (docs/speed.md).
        skip_background: pass tiles through that hold nothing but background, as `denoising.background` defines it.
        ome_zarr: version of an OME-Zarr output.
        on_error: where the input cannot be read, "stop"; or "skip": what can be read there is passed through, the rest
            is left empty, and the places are listed.
        dtype: of the result: "same" as the image, or "float32", which holds what integers cannot, such as a tenth of a
            photon.
        compiled: compile the network before the job begins (`inference.compilation`), which takes minutes.
        cpu_as_last_resort: where a GPU's memory does not even hold the smallest part of a tile, go on with the CPU
            instead of ending. No part of the job, so that a job which ended that way can be resumed with it.
    """

    tile: int | Literal["auto"] = 512
    halo: int | Literal["default", "exact"] = "default"
    batch: int = 0
    passes: int = 1
    std: bool = False
    seed: int = 0
    channels: Channels = "auto"
    intensity: tuple[float, float] | None = None
    noise: str = AUTO
    strength: float = 1.0
    precision: AskedPrecision = "float32"
    skip_background: bool = False
    ome_zarr: OmeZarr = "0.5"
    on_error: OnError = "stop"
    dtype: OutputDtype = "same"
    compiled: bool = False
    cpu_as_last_resort: bool = False
