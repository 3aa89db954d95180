"""Groups of options that several commands have, and how their values are read."""

from __future__ import annotations

import argparse


def add_cluster(p: argparse.ArgumentParser) -> None:
    """Add who computes."""
    cluster = p.add_argument_group("cluster", "several processes or machines, by dask.distributed")
    cluster.add_argument("--scheduler", metavar="ADDRESS", help="use the workers of a scheduler: tcp://host:8786")
    cluster.add_argument("--workers", type=int, metavar="N", help="use N processes of this machine")


def add_messages(p: argparse.ArgumentParser) -> None:
    """Add what is printed."""
    p.add_argument("--quiet", action="store_true", help="no progress bar and no notes")
    p.add_argument("--json", action="store_true", help="print a summary as JSON at the end")


def add_job(p: argparse.ArgumentParser) -> None:
    """Add what decides a job, except for its input."""
    p.add_argument("--model", help="name or file of a model (see `models list`; default: by image)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    p.add_argument(
        "--noise",
        default="auto",
        help="auto measures the noise, none gives the image to the network as it is; or the noise in units of the "
        "image: sigma=12, or gain=2,offset=100,read=5,correlation=2 (default: auto)",
    )
    p.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="X",
        help="how strong noise is taken to be, times what was measured: below 1 removes less, above 1 more; "
        "0.5 to 2 (default: 1)",
    )
    p.add_argument(
        "--skip-background",
        action="store_true",
        help="pass tiles through that are nothing but background (see `info --plan --skip-background`)",
    )
    p.add_argument(
        "--ome-zarr",
        choices=("0.4", "0.5"),
        default="0.5",
        help="version of an OME-Zarr output: 0.5, or 0.4 for programs that know no other (default: 0.5)",
    )
    p.add_argument(
        "--dtype",
        choices=("same", "float32"),
        default="same",
        help="of the result: that of the input, or float32 for what its integers cannot hold (default: same)",
    )
    _add_expert(p.add_argument_group("expert settings"))


def _add_expert(expert: argparse._ActionsContainer) -> None:
    """Add what most people never need."""
    expert.add_argument("--passes", type=int, default=1, help="average over K attention masks (default: 1)")
    expert.add_argument("--std", action="store_true", help="also write the standard deviation over the passes")
    expert.add_argument("--range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="intensities seen as 0 and 1")
    expert.add_argument(
        "--tile",
        type=_tile,
        default=512,
        help="side of a tile in pixels; auto measures once which tile and batch are fastest here (default: 512)",
    )
    expert.add_argument("--halo", type=_halo, default="default", help="context in pixels, 'default' or 'exact'")
    expert.add_argument("--batch", type=int, default=0, help="tiles denoised at once (default: by device)")
    expert.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="float32",
        help="of the network's products; auto is what is fastest on this device (default: float32)",
    )
    expert.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="where the input is damaged: stop, or pass the place through and list it (default: stop)",
    )
    expert.add_argument("--seed", type=int, default=0, help="seed of the attention masks (default: 0)")
    expert.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    expert.add_argument("--compile", action="store_true", help="compile the network first, which takes minutes")
    add_last_resort(expert)


def add_last_resort(group: argparse._ActionsContainer) -> None:
    """Add what to do where a GPU has too little memory."""
    group.add_argument(
        "--cpu-as-last-resort", action="store_true", help="go on with the CPU where a GPU has too little memory"
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How the input is to be read."""
    parser.add_argument("--axes", help="axes of the input, such as ZYX, where the file does not name them")
    parser.add_argument("--level", type=int, default=0, help="level of a pyramid, 0 is full resolution (default: 0)")
    parser.add_argument(
        "--select",
        default="",
        metavar="PART",
        help="only this part, in pixels of the level, from 0, the end left out: Z=3,T=0:5,Y=100:2000,X=:4096",
    )
    parser.add_argument(
        "--channels",
        choices=("auto", "rgb", "each"),
        default="auto",
        help="auto takes RGB as one plane, unless its colours show different things (merged fluorescence), and other "
        "channels one by one",
    )


def _halo(text: str) -> int | str:
    """A number of pixels, or one of two words."""
    if text in ("default", "exact"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor 'default' nor 'exact'") from None


def _tile(text: str) -> int | str:
    """A number of pixels, or "auto"."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor 'auto'") from None


def positive(text: str) -> int:
    """Return a number of pixels from 1 on.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pixels; give 1 or more")
    return int(text)
