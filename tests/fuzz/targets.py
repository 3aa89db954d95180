"""The fuzzing targets: each is a function in `TARGETS` that returns a `Target` (valid trees, mutation, reader)."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import imagecodecs
import numpy as np
import tifffile
import torch
import zarr
from zarr.codecs import GzipCodec

from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.inference import measurement_cache
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.job_file import read_job_file, write_job_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.journal_records import Checksums
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model, read_card, read_model
from masked_denoiser.models.reference import import_checkpoint, parameter_count
from masked_denoiser.network.build import build_network
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.training.checkpoint import new_state
from masked_denoiser.training.recipe import FINE_TUNE, PAPER_RECIPE, TrainingRecipe
from tests.fuzz import mutate
from tests.fuzz.format_targets import format_targets
from tests.fuzz.run import Target, Tree

IMAGE = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 48), np.uint8)


def models() -> Target:
    """Return the target for model files of both families."""
    u = UConfig(channels=1, widths=(4, 8), blocks=(1, 0), attention=1, heads=2, mean=(0.0,))
    made = [tiny_model(), Model(Card("u", u, data=["photographs"]), dict(build_network(u).state_dict()))]

    def use(folder: Path) -> None:
        card = read_card(folder / "model.safetensors")
        assert parameter_count(card.architecture)
        read_model(folder / "model.safetensors").build()

    def tree(model: Model) -> Tree:
        return {"model.safetensors": _saved(lambda path: model.save(path), ".safetensors")}

    return Target("model file", lambda: [tree(model) for model in made], lambda _: mutate.any_safetensors, use)


def checkpoints() -> Target:
    """Return the target for published checkpoints, `.pth`."""
    weights = tiny_model().weights
    trees: list[Tree] = [{"a.pth": _torch({"params": weights})}, {"a.pth": _torch({"epoch": 3, "params_ema": weights})}]

    def use(folder: Path) -> None:
        import_checkpoint(folder / "a.pth")

    return Target("reference checkpoint", lambda: trees, lambda _: mutate.any_zip, use)


def trainings() -> Target:
    """Return the target for training checkpoints."""
    state = new_state(tiny_model(), FINE_TUNE, torch.device("cpu"))
    torch.stack([p.sum() for p in state.network.parameters()]).sum().backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    saved = _saved(lambda path: state.save(path, "identity"), ".checkpoint")

    def use(folder: Path) -> None:
        state.load(folder / "a.checkpoint", "identity")

    return Target("training checkpoint", lambda: [{"a.checkpoint": saved}], lambda _: mutate.any_zip, use)


def journals() -> Target:
    """Return the target for resumed journals, which write to the same folder."""
    job = _job()

    def trees() -> list[Tree]:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "out.ome.zarr"
            journal = Journal.start(output, job)
            for _ in range(2):
                journal.add((0, 0), Checksums(1, (2,)))
            journal.close()
            return [{"out.ome.zarr.journal": Journal.path_for(output).read_bytes()}]

    def use(folder: Path) -> None:
        output = folder / "out.ome.zarr"
        Journal.resume(output, Journal.restore_measurements(output, job, chosen_precision=True)).close()

    return Target("journal", trees, lambda _: _any_line, use)


def job_files() -> Target:
    """Return the target for job files."""

    def use(folder: Path) -> None:
        read_job_file(folder / "job.json")

    def trees() -> list[Tree]:
        return [{"job.json": _saved(lambda path: write_job_file(path, _job()), ".json")}]

    return Target("job file", trees, lambda _: mutate.any_json, use)


def ome_xml() -> Target:
    """Return the target for the OME-XML of a TIFF with valid pixels."""
    plain = {"axes": "CZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "nm", "Channel": {"Name": ["a", "b"]}}
    described = tifffile.TiffFile(BytesIO(_tiff(ome=True, metadata=plain, photometric="minisblack"))).ome_metadata
    assert described
    several = described.replace("</TiffData>", "").replace(
        "<TiffData", '<TiffData><UUID FileName="other.ome.tif">urn:uuid:1</UUID></TiffData><TiffData', 1
    )
    annotated = described.replace(
        "</OME>",
        '<StructuredAnnotations><XMLAnnotation ID="A:1" Namespace="x/modulo"><Value><Modulo namespace="y">'
        '<ModuloAlongZ Type="angle" Start="0" End="2" Step="1"/></Modulo></Value></XMLAnnotation>'
        "</StructuredAnnotations></OME>",
    ).replace("</Pixels>", '</Pixels><AnnotationRef ID="A:1"/>')
    texts = [text.encode() for text in (described, several, annotated)]

    def with_xml(xml: bytes) -> bytes:
        return _tiff(description=xml, metadata=None, photometric="minisblack")

    def mutate_xml(random: Random, _: bytes) -> bytes:
        return with_xml(mutate.any_xml(random, random.choice(texts)))

    trees: list[Tree] = [{"a.ome.tif": with_xml(text)} for text in texts]
    trees[1] = {**trees[1], "other.ome.tif": with_xml(texts[0])}
    return Target("OME-XML", lambda: trees, lambda name: mutate_xml, lambda folder: _read(folder / "a.ome.tif"))


def tiffs() -> Target:
    """Return the target for directories, strips and tiles of many kinds of TIFF."""
    rgb = np.moveaxis(IMAGE[0], 0, -1)
    options: list[dict[str, Any]] = [
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "imagej": True},
        {"photometric": "minisblack", "compression": "zlib", "rowsperstrip": 8},
        {"photometric": "minisblack", "compression": "zstd", "tile": (16, 16), "bigtiff": True, "predictor": True},
    ]
    made = [_tiff(**option) for option in options]
    made += [_tiff(rgb, photometric="rgb", compression=kind, tile=(16, 16)) for kind in ("jpeg", "jpeg2000", "lzw")]
    made.append(_pyramid(rgb))
    return Target(
        "TIFF", lambda: [{"a.tif": data} for data in made], lambda _: mutate.head_of(1200), lambda f: _read(f / "a.tif")
    )


def zarrs() -> Target:
    """Return the target for metadata and chunks of zarr 2 and 3, OME-Zarr 0.4 and 0.5."""

    def use(folder: Path) -> None:
        _read(folder)

    def mutation_for(name: str) -> mutate.Mutate:
        return mutate.any_json if name.endswith((".json", ".zarray", ".zattrs", ".zgroup")) else mutate.any_bytes

    return Target("zarr metadata", _zarr_trees, mutation_for, use)


def photos() -> Target:
    """Return the target for PNG and JPEG."""
    rgb = np.ascontiguousarray(np.moveaxis(IMAGE[0], 0, -1))
    deep = rgb[..., 0].astype(np.uint16)
    trees: list[Tree] = [{"a.png": bytes(imagecodecs.png_encode(pixels))} for pixels in (rgb, deep)]
    trees.append({"a.jpg": bytes(imagecodecs.jpeg8_encode(rgb))})

    def use(folder: Path) -> None:
        for path in folder.glob("a.*g"):
            _read(path)

    return Target("PNG and JPEG", lambda: trees, lambda _: mutate.head_of(64), use)


def recipes() -> Target:
    """Return the target for training recipes and the cache of measured precisions."""
    cache = json.dumps({"cpu, torch 2.13, model abc": "bfloat16", "cuda": "float32"}).encode()
    trees = [{"recipe.json": recipe.to_json().encode(), "cache.json": cache} for recipe in (PAPER_RECIPE, FINE_TUNE)]

    def use(folder: Path) -> None:
        with patch.object(measurement_cache, "_file", lambda: folder / "cache.json"):
            measurement_cache.recall("cuda")
        TrainingRecipe.from_json((folder / "recipe.json").read_text(errors="replace"))

    return Target("recipe and cache JSON", lambda: trees, lambda _: mutate.any_json, use)


def noises() -> Target:
    """Return the target for noise recipes as text."""
    texts = ("one_of(gaussian(sigma=0..50), none)", "poisson(alpha=2) + correlated(sigma=20)", "mixture(level=1)")

    def use(folder: Path) -> None:
        parse_noise((folder / "noise.txt").read_text(errors="replace"))

    trees = [{"noise.txt": text.encode()} for text in texts]
    return Target("noise recipe", lambda: trees, lambda _: mutate.any_text, use)


TARGETS: dict[str, Callable[[], Target]] = {
    "model": models,
    "checkpoint": checkpoints,
    "training": trainings,
    "job": job_files,
    "journal": journals,
    "ome-xml": ome_xml,
    "tiff": tiffs,
    "zarr": zarrs,
    "photo": photos,
    "recipe": recipes,
    "noise": noises,
    **format_targets(),
}

#: Number of inputs per target in a long run, more than 100 000 in total; checkpoints are slow.
INPUTS = {
    "model": 10_000,
    "checkpoint": 4_000,
    "training": 2_000,
    "job": 10_000,
    "journal": 15_000,
    "ome-xml": 10_000,
    "tiff": 10_000,
    "zarr": 10_000,
    "photo": 10_000,
    "recipe": 15_000,
    "noise": 15_000,
    **dict.fromkeys(format_targets(), 5_000),
}


def _read(path: Path) -> None:
    """Open an image and read corners of each level as a job would."""
    with open_image(path) as source:
        for level in range(len(source.levels)):
            with _level(path, level, source.axes) as found:
                plane = next(iter(list_planes(found.axes, found.sizes, found.rgb)))
                height, width = found.size_yx
                found.read(plane, slice(0, min(height, 20)), slice(0, min(width, 20)))
                found.read(plane, slice(max(0, height - 9), height), slice(max(0, width - 9), width))


def _level(path: Path, level: int, axes: str) -> Any:
    return open_image(path, level=level, axes=axes)


def _saved(save: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        save(path)
        return path.read_bytes()


def _torch(content: object) -> bytes:
    made = BytesIO()
    torch.save(content, made)
    return made.getvalue()


def _job() -> Job:
    return make_job(open_image(IMAGE[0, 0]), tiny_model(), Options(tile=16), "cpu", "out.ome.zarr")


def _any_line(random: Random, data: bytes) -> bytes:
    """Change one record of a journal, or its bytes."""
    if random.random() < 0.2:
        return mutate.any_bytes(random, data)
    lines = data.splitlines()
    at = random.randrange(len(lines))
    start = lines[at].index(b"{")
    text = mutate.any_json(random, lines[at][start:])
    # A line may begin with the checksum of its record: a wrong one alone would hide what a wrong record does.
    lines[at] = (b"%08x " % zlib.crc32(text) if start else b"") + text
    return b"\n".join(lines) + b"\n"


def _tiff(image: Any = IMAGE, **options: Any) -> bytes:
    made = BytesIO()
    tifffile.imwrite(made, image, **options)
    return made.getvalue()


def _pyramid(rgb: Any) -> bytes:
    made = BytesIO()
    with tifffile.TiffWriter(made, bigtiff=True, ome=True) as writer:
        writer.write(rgb, subifds=1, tile=(16, 16), compression="zlib", photometric="rgb", metadata={"axes": "YXS"})
        writer.write(rgb[::2, ::2], subfiletype=1, tile=(16, 16), compression="zlib", photometric="rgb", metadata=None)
    return made.getvalue()


def _zarr_trees() -> list[Tree]:
    """Return an OME-Zarr of either format with one or two chunks; the other chunks are fill values."""
    trees: list[Tree] = []
    for version in (2, 3):
        with tempfile.TemporaryDirectory() as folder:
            axes = [{"name": n, "type": "space" if n in "zyx" else "channel"} for n in "czyx"]
            scale = [{"type": "scale", "scale": [1, 1, 0.5, 0.5]}]
            datasets = [{"path": key, "coordinateTransformations": scale} for key in ("0", "1")]
            image: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": datasets, "name": "a"}]}
            image["omero"] = {"channels": [{"label": "a", "color": "FF0000"}, {"label": "b", "color": "00FF00"}]}
            ome = {"version": "0.5", **image} if version == 3 else image
            group = zarr.open_group(
                folder, mode="w", zarr_format=version, attributes={"ome": ome} if version == 3 else ome
            )
            for key, step in (("0", 1), ("1", 2)):
                pixels = IMAGE[..., ::step, ::step]
                shards = (1, 1, 40, 48) if version == 3 and key == "0" else None
                compressors: Any = GzipCodec() if version == 3 and key == "1" else "auto"
                group.create_array(
                    key, shape=pixels.shape, dtype="u1", chunks=(1, 1, 20, 24), shards=shards, compressors=compressors
                )[:] = pixels
            root = Path(folder)
            files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            first = "0/c/0/0/0/0" if version == 3 else "0/0.0.0.0"
            metadata = {name for name in files if name.endswith((".json", ".zarray", ".zattrs", ".zgroup"))}
            trees.append({name: files[name] for name in sorted(metadata | {first} | ({*files} & {"1/c/0/0/0/0"}))})
    return trees
