"""Jobs that average neighbouring planes: what they gain, and that tiles, resumption and lazy results agree."""

import os
from dataclasses import replace

import numpy as np
import pytest
import zarr
from scipy.ndimage import gaussian_filter

from masked_denoiser.errors import JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.lazy.denoise_lazy import denoise_lazy
from masked_denoiser.jobs.messages import context_messages
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, TileDone
from masked_denoiser.jobs.prepare import prepare_array, prepare_file
from masked_denoiser.jobs.spec.options import Options
from tests.jobs.job_cases import fingerprint

TINY = tiny_model()
SIGMA = 20.0

#: A job of the tiny model in small tiles, with given noise.
GIVEN = Options(noise=f"sigma={SIGMA:g}", neighbours=1, tile=32, halo=8)


def plane(seed, side=128):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 3)
    return 120 + 40 * smooth / smooth.std()


def stack(clean, seed=0, dtype=np.float32):
    noise = np.random.default_rng(seed).normal(0, SIGMA, np.shape(clean))
    return np.clip(np.asarray(clean) + noise, 1, 255).astype(dtype)  # 0 may mark missing pixels


def run(image, axes="TYX", neighbours="auto", **options):
    options = Options(neighbours=neighbours, **options)
    with prepare_array(open_image(image, axes=axes), device="cpu", options=options) as prepared:
        list(prepared.pipeline.run())
        return prepared.pipeline.sink.array, prepared


def test_still_series_flickers_less_and_is_nearer_to_the_truth():
    clean = np.repeat(plane(0)[None], 6, axis=0)
    image = stack(clean)
    alone, _ = run(image, neighbours="none")
    together, prepared = run(image)
    assert any("along T where they show the same" in message for message in prepared.messages)
    assert together.var(axis=0).mean() < 0.3 * alone.var(axis=0).mean()
    assert np.mean((together - clean) ** 2) < 0.6 * np.mean((alone - clean) ** 2)  # 2.2 dB


def test_planes_that_differ_are_bitwise_as_without_neighbours():
    image = stack([plane(seed) for seed in range(5)])
    alone, _ = run(image, "ZYX", neighbours="none")
    together, prepared = run(image, "ZYX")
    assert prepared.job.context_planes == ()
    np.testing.assert_array_equal(together, alone)
    forced, prepared = run(image, "ZYX", neighbours=2)  # they still take no part where planes differ
    assert prepared.job.context_planes
    assert np.mean((forced - alone) ** 2) < 0.02 * np.mean((alone - image) ** 2)


def test_faint_event_in_one_frame_is_kept_by_default():
    """Half a standard deviation in a disc: neighbours, which must be asked for, remove most of it."""
    y, x = np.mgrid[:128, :128]
    disc = (y - 64) ** 2 + (x - 64) ** 2 <= 10**2
    clean = np.repeat(plane(0)[None], 7, axis=0)
    clean[3][disc] += SIGMA / 2
    result, prepared = run(stack(clean), neighbours=Options().neighbours)
    assert prepared.job.context_planes == ()
    assert (result[3] - plane(0))[disc].mean() > 0.7 * SIGMA / 2


def test_moving_bead_leaves_no_ghost():
    y, x = np.mgrid[:128, :128]
    clean = np.stack([plane(0) + 110 * np.exp(-((y - 64) ** 2 + (x - 20 - 15 * t) ** 2) / 5) for t in range(6)])
    image = stack(clean)
    alone, _ = run(image, neighbours="none")
    together, prepared = run(image)
    assert prepared.job.context_planes
    for t in range(6):
        others = np.max([np.exp(-((y - 64) ** 2 + (x - 20 - 15 * s) ** 2) / 5) for s in range(6) if s != t], axis=0)
        near = others > 0.3
        assert abs((together[t] - clean[t])[near].mean()) < 0.3 * SIGMA
        assert np.abs(together[t] - clean[t])[near].max() < max(SIGMA, 1.2 * np.abs(alone[t] - clean[t])[near].max())


def test_the_axis_that_is_alike_is_chosen_for_each_channel():
    still = [np.repeat(np.stack([plane(10 * c + z, 96) for z in range(3)])[None], 3, axis=0) for c in range(2)]
    unlike = np.stack([[plane(100 + 3 * t + z, 96) for z in range(3)] for t in range(3)])
    image = stack(np.stack([still[0], unlike, still[1]], axis=1))
    with prepare_array(open_image(image, axes="TCZYX"), device="cpu", options=Options(neighbours="auto")) as prepared:
        contexts = dict(prepared.job.context_planes)
        assert {channel: context.axis for channel, context in contexts.items()} == {0: "T", 2: "T"}
        (message,) = context_messages(replace(prepared.job, context_planes=prepared.job.context_planes[:1]))
        assert message.startswith("channel 0: averages")


@pytest.mark.parametrize(("shape", "axes"), [((4, 70, 90), "ZYX"), ((3, 50, 61, 3), "TYXS")])
def test_tiles_with_exact_halo_equal_the_whole_plane(shape, axes):
    rgb = np.moveaxis([np.repeat(plane(c, 100)[None], shape[0], 0) for c in range(3)], 0, -1)[:, : shape[1], : shape[2]]
    image = stack(rgb if axes.endswith("S") else rgb[..., 0])
    how = {"model": TINY, "axes": axes, "device": "cpu"}
    tiles = denoise(image, **how, options=replace(GIVEN, halo="exact"))
    whole = denoise(image, **how, options=replace(GIVEN, tile=128, halo="exact"))
    np.testing.assert_allclose(tiles, whole, atol=0.02)
    alone = denoise(image, **how, options=replace(GIVEN, tile=128, halo="exact", neighbours="none"))
    assert np.abs(alone - whole).max() > 1  # neighbours have an effect


def test_resumed_and_lazy_results_are_those_of_the_whole_job(tmp_path):
    image = stack(np.repeat(plane(0)[None], 4, axis=0), dtype=np.uint8)
    source = open_image(image, axes="ZYX")

    def prepare(name, **how):
        return prepare_file(source, tmp_path / name, model=TINY, options=GIVEN, device="cpu", **how).pipeline

    assert isinstance(list(prepare("whole.ome.zarr").run())[-1], Finished)
    pipeline, done = prepare("cut.ome.zarr"), 0
    for event in pipeline.run():
        done += isinstance(event, TileDone)
        if done == 20:
            pipeline.cancel.set()
    assert isinstance(event, Cancelled)
    assert isinstance(list(prepare("cut.ome.zarr", resume=True).run())[-1], Finished)
    assert fingerprint(tmp_path / "cut.ome.zarr") == fingerprint(tmp_path / "whole.ome.zarr")
    lazy = denoise_lazy(image, model=TINY, axes="ZYX", device="cpu", options=GIVEN)
    np.testing.assert_array_equal(lazy[2].compute(), zarr.open_array(tmp_path / "whole.ome.zarr" / "0", mode="r")[2])


def given(image, **options):
    """Return the result of the tiny model with given noise and a fixed range."""
    chosen = replace(GIVEN, intensity=(0.0, 255.0), **options)
    with prepare_array(image, model=TINY, device="cpu", options=chosen) as prepared:
        list(prepared.pipeline.run())
        return prepared.pipeline.sink.array


def test_empty_and_damaged_neighbours_do_not_count(tmp_path):
    image = stack(np.repeat(plane(0)[None], 3, axis=0))
    alone = given(open_image(image, axes="TYX"), neighbours="none")
    for lost in (np.nan, np.inf):
        series = image.copy()
        series[1] = lost
        result = given(open_image(series, axes="TYX"))
        assert not np.isfinite(result[1]).any()
        np.testing.assert_array_equal(result[[0, 2]], alone[[0, 2]])
    array = zarr.create_array(
        tmp_path / "in.zarr",
        shape=image.shape,
        chunks=(1, 128, 128),
        dtype="float32",
        dimension_names=["t", "y", "x"],
        compressors=zarr.codecs.ZstdCodec(checksum=True),
    )
    array[:] = image
    chunk = tmp_path / "in.zarr" / "c" / "1" / "0" / "0"
    os.truncate(chunk, chunk.stat().st_size // 2)
    result = given(open_image(tmp_path / "in.zarr"), on_error="skip")
    np.testing.assert_array_equal(result[[0, 2]], alone[[0, 2]])


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((3, 64, 64), {"neighbours": 0}, "neighbours is 0; choose"),
        ((3, 64, 64), {"neighbours": 5}, "neighbours is 5; choose"),
        ((3, 64, 64), {"neighbours": "two"}, "neighbours is 'two'; choose"),
        ((1, 64, 64), {"neighbours": 1}, "single plane"),
        ((3, 64, 64), {"neighbours": 1, "noise": "none"}, "noise 'none' ignores"),
    ],
)
def test_impossible_neighbours_are_refused(shape, options, words):
    with pytest.raises(JobError, match=words):
        prepare_array(open_image(np.zeros(shape, np.uint8), axes="ZYX"), device="cpu", options=Options(**options))
