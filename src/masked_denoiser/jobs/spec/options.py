"""The options of a job, each described once: default, choices, help, and where it is shown.

Command-line flags, the fields of the dock and the documentation are made from `OPTIONS`, the table of the fields of
`Options`. To add an option, add a field here, and use it where jobs are resolved or run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from masked_denoiser.images.choices import Channels, OmeZarr
from masked_denoiser.inference.precision import RequestedPrecision
from masked_denoiser.jobs.spec.option_types import checked_values
from masked_denoiser.noise.modalities.prior import RequestedModality

#: What happens where the input cannot be read.
OnError = Literal["stop", "skip"]

#: Data type of the result: that of the image, or float32 for what its integers cannot hold.
OutputDtype = Literal["same", "float32"]

#: What an option is about; the order is that of the groups on the command line and in the documentation.
OptionGroup = Literal["noise", "channels", "output", "expert"]

#: What an option changes: the pixels of the result, how they are stored, or only speed and memory.
Decides = Literal["pixels", "storage", "speed"]


@dataclass(frozen=True)
class Option:
    """The description of one option.

    Attributes:
        help: what it does, in full sentences without a full stop at the end.
        group: where it is listed.
        decides: what it changes.
        label: of its field in the dock; empty for an option that the dock does not have.
        choices: allowed words, and how the dock shows each.
        numbers: whether whole numbers are allowed as well as the words.
        limits: lowest and highest value and step of the dock's field, for numbers.
        flag: on the command line, if it is not the name with hyphens.
        metavar: placeholder of its value on the command line.
        name: of the field of `Options`.
        default: its default.
    """

    help: str
    group: OptionGroup
    decides: Decides
    label: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    numbers: bool = False
    limits: tuple[float, float, float] | None = None
    flag: str = ""
    metavar: str | tuple[str, ...] | None = None
    name: str = ""
    default: Any = None


def _described(help: str, group: OptionGroup, decides: Decides, **details: Any) -> dict[str, Option]:
    """Return the metadata of a field of `Options`."""
    return {"option": Option(help, group, decides, **details)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user asks for, apart from image and model. `OPTIONS` describes each field."""

    noise: str = field(
        default="auto",
        metadata=_described(
            "auto measures the noise and chooses the treatment; none skips both and sets no limits to the network; or "
            "the noise in units of the image: sigma=12, or gain=2,offset=100,read=5,correlation=2",
            "noise",
            "pixels",
            label="noise",
        ),
    )
    strength: float = field(
        default=1.0,
        metadata=_described(
            "factor on the measured or given noise: below 1 removes less, above 1 more; 0.5 to 2",
            "noise",
            "pixels",
            label="strength",
            limits=(0.5, 2.0, 0.1),
            metavar="X",
        ),
    )
    modality: RequestedModality = field(
        default="auto",
        metadata=_described(
            "kind of the image, which says what noise it has: auto is that of the file, or else what the noise shows; "
            "mri is the magnitude of a complex signal (Rician noise)",
            "noise",
            "pixels",
            label="modality",
            choices={
                "auto": "automatic",
                "other": "microscopy, other",
                "ct": "CT",
                "mri": "MRI (magnitude)",
                "ultrasound": "ultrasound",
                "oct": "OCT",
                "xray": "X-ray",
                "em": "electron microscopy",
            },
        ),
    )
    neighbours: int | Literal["auto", "none"] = field(
        default="none",
        metadata=_described(
            "neighbouring planes along T or Z, on each side, that are averaged with a plane where they show the same, "
            "which may remove what appears in one plane only and is fainter than its noise: auto measures on a sample "
            "whether that lowers the error; none denoises each plane by itself; 1 to 4 are used wherever planes agree",
            "noise",
            "pixels",
            label="neighbours",
            choices={"auto": "automatic", "none": "none"},
            numbers=True,
        ),
    )
    channels: Channels = field(
        default="auto",
        metadata=_described(
            "auto denoises RGB as one plane, unless its colours show different things (merged fluorescence), and other "
            "channels separately",
            "channels",
            "pixels",
            label="channels",
            choices={"auto": "automatic", "rgb": "RGB together", "each": "each separately"},
        ),
    )
    skip_background: bool = field(
        default=False,
        metadata=_described(
            "copy tiles that hold nothing but background, such as the paper of a slide",
            "output",
            "pixels",
            label="skip background",
        ),
    )
    dtype: OutputDtype = field(
        default="same",
        metadata=_described(
            "data type of the result: that of the image, or float32 for what integers cannot hold, such as a tenth of "
            "a photon",
            "output",
            "pixels",
            label="data type",
            choices={"same": "as the image", "float32": "float32"},
        ),
    )
    ome_zarr: OmeZarr = field(
        default="0.5",
        metadata=_described(
            "version of an OME-Zarr output: 0.5, or 0.4 for programs that cannot read 0.5",
            "output",
            "storage",
            choices={"0.5": "0.5", "0.4": "0.4"},
        ),
    )
    anonymize: bool = field(
        default=False,
        metadata=_described(
            "remove what identifies a patient from a DICOM output, by the basic profile of DICOM PS3.15, and free text "
            "from a NIfTI output; pixels are not searched for burned-in text",
            "output",
            "storage",
        ),
    )
    passes: int = field(
        default=1,
        metadata=_described(
            "number of runs whose mean is the result, slightly better than one: with different attention masks or, for "
            "models without masks, with the image in up to 8 orientations; two take twice the time",
            "expert",
            "pixels",
            label="passes",
            limits=(1, 1000, 1),
            metavar="K",
        ),
    )
    std: bool = field(
        default=False,
        metadata=_described(
            "also write the standard deviation of the error that is to be expected, in units of the intensity; takes 8 "
            "passes unless passes says otherwise",
            "expert",
            "storage",
            label="standard deviation",
        ),
    )
    intensity: tuple[float, float] | None = field(
        default=None,
        metadata=_described(
            "intensities that the network sees as black and white; measured by default",
            "expert",
            "pixels",
            label="intensity",
            flag="--range",
            metavar=("LOW", "HIGH"),
        ),
    )
    tile: int | Literal["auto"] = field(
        default=512,
        metadata=_described(
            "side of the square that is denoised at a time, in pixels; smaller takes less memory; auto measures once "
            "which tile and batch are fastest for model and device, which takes up to 20 s",
            "expert",
            "pixels",
            label="tile",
            choices={"auto": "fastest here"},
            numbers=True,
            limits=(64, 4096, 64),
        ),
    )
    halo: int | Literal["default", "exact"] = field(
        default="default",
        metadata=_described(
            "context around a tile, in pixels; exact gives what the whole image at once would give",
            "expert",
            "pixels",
            label="halo",
            choices={"default": "default", "exact": "exact (slower)"},
            numbers=True,
        ),
    )
    batch: int = field(
        default=0,
        metadata=_described("number of tiles that are denoised at a time; 0 lets the device decide", "expert", "speed"),
    )
    precision: RequestedPrecision = field(
        default="auto",
        metadata=_described(
            "precision of the network's products; auto is bfloat16 if the processor or GPU has instructions for it and "
            "the model loses below 0.02 dB on a sample, else float32, as for weak noise and an exact halo",
            "expert",
            "pixels",
            label="precision",
            choices={
                "auto": "automatic",
                "float32": "float32 (exact)",
                "bfloat16": "bfloat16",
                "float16": "float16",
            },
        ),
    )
    on_error: OnError = field(
        default="stop",
        metadata=_described(
            "where the input is damaged: stop; or skip, which does not denoise such regions, leaves empty what cannot "
            "be read, and lists them",
            "expert",
            "pixels",
            choices={"stop": "stop", "skip": "skip"},
        ),
    )
    seed: int = field(
        default=0,
        metadata=_described(
            "seed of the attention masks and of samples; the same seed gives the same result",
            "expert",
            "pixels",
            label="seed",
            limits=(0, 2**31 - 1, 1),
        ),
    )
    compiled: bool = field(
        default=False,
        metadata=_described("compile the network first, which can take minutes", "expert", "pixels", flag="--compile"),
    )
    cpu_as_last_resort: bool = field(
        default=False,
        metadata=_described(
            "continue on the CPU if the memory of a GPU does not hold the smallest part of a tile; not recorded in the "
            "job, so that a failed job can be resumed with it",
            "expert",
            "speed",
        ),
    )

    def __post_init__(self) -> None:
        """Check the types, so that a wrong one is an error that names the value, and convert NumPy's numbers."""
        for name, value in checked_values(self).items():
            object.__setattr__(self, name, value)


#: The description of each option, by name.
OPTIONS: Mapping[str, Option] = MappingProxyType(
    {one.name: replace(one.metadata["option"], name=one.name, default=one.default) for one in fields(Options)}
)


def flag_of(option: Option) -> str:
    """Return the flag of an option on the command line."""
    return option.flag or f"--{option.name.replace('_', '-')}"
