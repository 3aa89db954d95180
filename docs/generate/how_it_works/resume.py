"""Figure of a resumed job: the output when the job was cancelled, its journal, and the finished result.

python docs/generate/how_it_works/resume.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import zarr

import masked_denoiser as md
from masked_denoiser.jobs.pipeline.events import TileDone
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.spec.options import Options

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from figures import Image, panels, save, show

_TILE, _BEFORE_CANCEL = 128, 7


def main() -> None:
    """Cancel a job, resume it, compare it with an undisturbed one and draw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output, undisturbed = folder / "clean.ome.zarr", folder / "undisturbed.ome.zarr"
        cancel_after(output, _BEFORE_CANCEL)
        partial = _pixels(output)
        journal = output.with_name(f"{output.name}.journal").read_text()
        done = sum('"done"' in line for line in journal.splitlines())
        md.denoise_file(md.sample_path("slide"), output, tile=_TILE, resume=True)
        md.denoise_file(md.sample_path("slide"), undisturbed, tile=_TILE)
        same = _bytes(output) == _bytes(undisturbed)
        finished = _pixels(output)
    figure, axes = panels(1, 2, side=3.2)
    show(axes[0], partial, f"cancelled: the journal lists {done} of 16 tiles")
    show(axes[1], finished, f"resumed: {'the same bytes as without interruption' if same else 'DIFFERENT'}", 0, 255)
    save(figure, "how-it-works/resume")
    print(f"journal at the time of cancelling:\n{_shortened(journal)}")
    if not same:
        raise SystemExit("the resumed result differs from the undisturbed one")


def cancel_after(output: Path, tiles: int) -> None:
    """Run a job until some tiles are finished, and cancel it."""
    with (
        md.open_image(md.sample_path("slide")) as source,
        prepare_file(source, output, options=Options(tile=_TILE, batch=1)) as prepared,
    ):
        finished = 0
        for event in prepared.pipeline.run():
            finished += isinstance(event, TileDone)
            if finished == tiles:
                prepared.pipeline.cancel.set()


def _pixels(output: Path) -> Image:
    """Return level 0 of an OME-Zarr as [H, W, 3], which a partial one has, too."""
    level = zarr.open_array(output / "0", mode="r")
    return np.moveaxis(np.asarray(level[:]), 0, -1)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _shortened(text: str) -> str:
    return "\n".join(line if len(line) <= 110 else f"{line[:107]}..." for line in text.splitlines())


if __name__ == "__main__":
    main()
