import shutil
import time
import warnings

import numpy as np
import pytest
import tifffile
import torch

from masked_denoiser.errors import JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.inference.runner import reflect
from masked_denoiser.jobs.api import denoise, denoise_file
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, TileDone
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.pipeline.prefetch import WRITE_BEHIND
from masked_denoiser.jobs.pipeline.tile_stages import TileStages
from masked_denoiser.jobs.prepare import prepare_array, prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job
from masked_denoiser.messages import Message
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.build import build_network
from masked_denoiser.network.config import PAPER, SwinConfig
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.network.reach import exact_halo
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.samples import sample_path
from tests.stand_in import StandIn

TINY = tiny_model()


def random_model(config):
    """Return an untrained model with weights large enough for distant pixels to matter."""
    torch.manual_seed(0)
    weights = {k: v + torch.randn_like(v) * 0.05 for k, v in build_network(config).state_dict().items()}
    return Model(Card(name="random", architecture=config), weights)


def whole(model, image, seed=0):
    """Apply the network to the whole image, [H, W, 3] float32 in [0, 1], as a reference."""
    config = model.card.architecture
    batch = reflect(np.moveaxis(image, 2, 0)[None], config.grid)
    mask = HashedTokenMask(config.attention_mask, seed, 0, ((0, 0),), config.scale) if config.attention_mask else None
    with torch.inference_mode():
        out = model.build()(torch.from_numpy(batch), mask)[0].numpy()
    # Images of this module have no negative values, so results have none.
    return np.maximum(np.moveaxis(out, 0, 2)[: image.shape[0], : image.shape[1]], 0.0)


FAMILY = {
    "masked": SwinConfig(embed=12, depths=(2, 2), heads=(2, 2)),
    "swinir": SwinConfig(
        embed=12, depths=(3,), heads=(2,), first_kernel=3, residual="1conv", global_skip=True, attention_mask=0.0
    ),
    "window-4": SwinConfig(embed=8, depths=(4,), heads=(2,), window=4),
    "u": UConfig(widths=(8, 16), blocks=(1, 1), attention=2, heads=2, window=4, attention_mask=0.5),
    "u-unshuffled": UConfig(unshuffle=2, widths=(8, 12, 8), blocks=(2, 1, 1), attention=3, heads=2, window=2),
}


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("size", [(96, 128), (61, 77), (130, 9), (3, 200)])
def test_exact_halo_matches_the_whole_image(name, size):
    model = random_model(FAMILY[name])
    image = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    options = Options(noise="none", intensity=(0.0, 1.0), tile=32, halo="exact", batch=3)
    tiled = denoise(image, model=model, axes="YXS", device="cpu", options=options)
    assert np.abs(tiled - whole(model, image)).max() <= 1e-5


@pytest.mark.parametrize("name", FAMILY)
def test_exact_halo_is_minimal(name):
    model = random_model(FAMILY[name])
    config = model.card.architecture
    side = 2 * exact_halo(config) + 96
    image = np.random.default_rng(0).random((side, side, 3), dtype=np.float32)
    less = Options(noise="none", intensity=(0.0, 1.0), tile=32, halo=exact_halo(config) - config.grid)
    assert np.abs(denoise(image, model=model, axes="YXS", device="cpu", options=less) - whole(model, image)).max() > 0


@pytest.mark.parametrize("side", [256, pytest.param(512, marks=pytest.mark.long)])
def test_paper_network_leaves_no_tile_seams(side):
    """Tiles of 128 pixels, attention masks on, float32."""
    model = random_model(PAPER)
    image = tifffile.imread(sample_path("slide"))[:side, :side].astype(np.float32) / 255
    options = Options(noise="none", intensity=(0.0, 1.0), tile=128, halo="exact")
    tiled = denoise(image, model=model, device="cpu", axes="YXS", options=options)
    assert np.abs(tiled - whole(model, image)).max() <= 1e-5


def run(array, axes=None, model=TINY, **options):
    return denoise(
        array, model=model, axes=axes, device="cpu", options=Options(**{"tile": 32, "noise": "none", **options})
    )


def test_batch_size_does_not_change_the_result():
    image = np.random.default_rng(0).random((80, 100, 3), dtype=np.float32)
    assert np.abs(run(image, "YXS", batch=1) - run(image, "YXS", batch=5)).max() <= 1e-5


def test_planes_are_denoised_independently():
    stack = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 48)).astype(np.uint8)
    result = run(stack, "TCYX")
    for t in range(2):
        for c in range(3):
            np.testing.assert_array_equal(result[t, c], run(stack[t, c], "YX"))


def test_rgb_model_repeats_a_gray_plane():
    gray = np.random.default_rng(0).integers(-128, 128, (40, 48)).astype(np.int16)
    rgb = run(np.stack([gray.astype(np.float32)] * 3, axis=-1), "YXS", intensity=(-128.0, 127.0)).mean(-1)
    assert np.abs(run(gray, "YX", intensity=(-128.0, 127.0)) - rgb).max() <= 0.51


def test_gray_model_processes_colours_separately():
    model = tiny_model(channels=1)
    rgb = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    result = run(rgb, "YXS", model=model)
    for c in range(3):
        np.testing.assert_array_equal(result[..., c], run(rgb[..., c], "YX", model=model))


def test_alpha_is_copied():
    rgba = np.random.default_rng(0).integers(0, 256, (40, 48, 4)).astype(np.uint8)
    result = run(rgba, "YXS")
    np.testing.assert_array_equal(result[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(result[..., :3], run(rgba[..., :3], "YXS"))


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (7, 8), (33, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float16", "float32", "float64"])
def test_shape_and_dtype_are_preserved(shape, dtype):
    image = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    result = run(image, "YX")
    assert (result.shape, result.dtype) == (shape, np.dtype(dtype))
    assert np.isfinite(result).all()


def test_non_finite_values_are_reported_and_kept():
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    image[3, 4], image[40, 50] = np.nan, -np.inf
    prepared = prepare_array(
        open_image(image, axes="YX"), model=TINY, options=Options(noise="none", tile=32), device="cpu"
    )
    messages = [event.text for event in prepared.pipeline.run() if isinstance(event, Message)]
    result = prepared.pipeline.sink.array
    assert len(messages) == 1
    assert "NaN" in messages[0]
    assert np.isnan(result[3, 4])
    assert result[40, 50] == -np.inf
    assert np.isfinite(result).sum() == image.size - 2


def test_passes_are_averaged_with_standard_deviation():
    image = np.random.default_rng(0).random((40, 48)).astype(np.float32) * 100
    first, second = (whole_gray(image, number) for number in (0, 1))
    prepared = prepare_array(
        open_image(image, axes="YX"),
        model=TINY,
        options=Options(noise="none", tile=64, passes=2, std=True, intensity=(0.0, 100.0)),
        device="cpu",
    )
    list(prepared.pipeline.run())
    mean, std = prepared.pipeline.sink.array, prepared.pipeline.std_sink.array
    np.testing.assert_allclose(mean, (first + second) / 2 * 100, atol=0.01)
    np.testing.assert_allclose(std, np.abs(first - second) / np.sqrt(2) * 100, atol=0.01)
    assert std.max() > 0


def whole_gray(image, number):
    """Apply one pass of the tiny model to a whole gray image from 0 to 100, in units of its range."""
    batch = reflect(np.repeat(image[None, None] / np.float32(100), 3, axis=1), 8)
    with torch.inference_mode():
        out = TINY.build()(torch.from_numpy(batch), HashedTokenMask(0.75, 0, number, ((0, 0),)))[0].mean(0)
    return out.numpy()[: image.shape[0], : image.shape[1]]


def test_cancel_and_resume_give_the_same_result(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8)
    source = open_image(image, axes="YX")

    def prepare(name, **how):
        return prepare_file(
            source, tmp_path / name, model=TINY, options=Options(noise="none", tile=32), device="cpu", **how
        ).pipeline

    assert isinstance(list(prepare("whole.ome.zarr").run())[-1], Finished)
    pipeline, events = prepare("cut.ome.zarr"), []
    for event in pipeline.run():
        events.append(event)
        if sum(isinstance(e, TileDone) for e in events) == 4:
            pipeline.cancel.set()
    assert isinstance(events[-1], Cancelled)
    done = events[-1].progress.done
    assert 4 <= done <= 4 + WRITE_BEHIND + 1  # computed tiles are written
    assert done == sum(isinstance(e, TileDone) for e in events)
    assert (tmp_path / "cut.ome.zarr.journal").exists()
    with pytest.raises(JobError, match="--resume"):
        prepare("cut.ome.zarr")
    events = list(prepare("cut.ome.zarr", resume=True).run())
    assert sum(isinstance(e, TileDone) for e in events) == 9 - done
    assert events[-1].progress.done == 9
    assert not (tmp_path / "cut.ome.zarr.journal").exists()
    with open_image(tmp_path / "cut.ome.zarr") as a, open_image(tmp_path / "whole.ome.zarr") as b:
        np.testing.assert_array_equal(a.data[:], b.data[:])


def test_network_error_keeps_finished_tiles(tmp_path):
    image = np.zeros((96, 96), np.uint8)
    source = open_image(image, axes="YX")
    prepared = prepare_file(
        source, tmp_path / "a.ome.tif", model=TINY, options=Options(noise="none", tile=32), device="cpu"
    )
    calls = []

    def failing(tiles, origins, noise):
        calls.append(origins)
        if len(calls) == 3:
            raise MemoryError("planted")
        return tiles

    prepared.pipeline.runner = StandIn(failing)
    with pytest.raises(MemoryError, match="planted"):
        list(prepared.pipeline.run())
    assert not (tmp_path / "a.ome.tif").exists()
    resumed = prepare_file(
        source, tmp_path / "a.ome.tif", model=TINY, options=Options(noise="none", tile=32), device="cpu", resume=True
    )
    assert len(resumed.pipeline.journal.done) == 2
    list(resumed.pipeline.run())
    assert tifffile.imread(tmp_path / "a.ome.tif").shape == (96, 96)


@pytest.mark.parametrize("failing", [0, 1, 2, 3, 5])
def test_incomplete_group_is_never_written(tmp_path, monkeypatch, failing):
    """Batches after the failed one may already be computed, and may be the last of its group."""
    options = Options(noise="none", tile=32, halo=8, batch=4)  # three batches in each of four groups
    source = open_image(np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8), axes="YX")

    def prepared(name, resume=False):
        return prepare_file(source, tmp_path / name, model=TINY, options=options, device="cpu", resume=resume).pipeline

    list(prepared("whole.ome.zarr").run())
    pipeline, calls = prepared("cut.ome.zarr"), []
    to_image_units = TileStages.to_image_units

    def fails(stages, task, *computed):
        calls.append(task)
        if len(calls) == failing + 1:
            time.sleep(0.2)  # until others wait behind it
            raise MemoryError("planted")
        return to_image_units(stages, task, *computed)

    monkeypatch.setattr(TileStages, "to_image_units", fails)
    with pytest.raises(MemoryError, match="planted"):
        list(pipeline.run())
    monkeypatch.undo()
    list(prepared("cut.ome.zarr", resume=True).run())
    with open_image(tmp_path / "cut.ome.zarr") as a, open_image(tmp_path / "whole.ome.zarr") as b:
        np.testing.assert_array_equal(a.data[:], b.data[:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options": Options(noise="none", tile=64)}, "tile was 32 and is 64"),
        ({"options": Options(noise="none", tile=32, seed=1)}, "seed was 0 and is 1"),
        ({"options": Options(noise="none", tile=32, ome_zarr="0.4")}, "ome_zarr was '0.5' and is '0.4'"),
        ({"model": tiny_model(seed=5)}, "model_digest"),
    ],
)
def test_different_job_is_not_resumed(tmp_path, change, words):
    source = open_image(np.zeros((96, 96), np.uint8), axes="YX")
    settings = {"model": TINY, "options": Options(noise="none", tile=32), "device": "cpu"}
    pipeline = prepare_file(source, tmp_path / "a.ome.zarr", **settings).pipeline
    pipeline.cancel.set()
    list(pipeline.run())
    with pytest.raises(JobError, match=words):
        prepare_file(source, tmp_path / "a.ome.zarr", resume=True, **(settings | change))


def test_torn_record_is_dropped_and_damaged_journal_refused(tmp_path):
    source = open_image(np.zeros((96, 96), np.uint8), axes="YX")
    settings = {"model": TINY, "options": Options(noise="none", tile=32), "device": "cpu"}
    pipeline = prepare_file(source, tmp_path / "a.ome.zarr", **settings).pipeline
    for event in pipeline.run():
        if isinstance(event, TileDone):
            pipeline.cancel.set()
    journal = tmp_path / "a.ome.zarr.journal"
    whole, last = journal.read_bytes(), journal.read_bytes().splitlines()[-1]
    for torn in (last[:9], last[:-1] + b"\n", b"\0" * 40 + b"\n" + b"\0" * 7):  # what power cuts leave
        journal.write_bytes(whole + torn)
        pipeline = prepare_file(source, tmp_path / "a.ome.zarr", resume=True, **settings).pipeline
        pipeline.cancel.set()
        list(pipeline.run())
        assert journal.read_bytes().startswith(whole)
        assert torn not in journal.read_bytes()[len(whole) :]
    journal.write_bytes(whole + b"noise\n" + last + b"\n")
    with pytest.raises(JobError, match="damaged at line"):
        prepare_file(source, tmp_path / "a.ome.zarr", resume=True, **settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(noise="none", passes=0), "passes is 0"),
        (Options(noise="none", passes=1001), "passes is 1001"),
        (Options(noise="none", intensity=(5.0, 5.0)), "empty"),
        (Options(noise="none", tile=30), "tile side 30"),
        (Options(noise="none", channels="rgb"), "each"),
        (Options(noise="none", seed=-1), "seed is -1; choose 0 to"),
        (Options(noise="none", ome_zarr="0.3"), "OME-Zarr 0.3 cannot be written; choose 0.4 or 0.5"),
    ],
)
def test_invalid_options_are_refused_before_writing(tmp_path, options, words):
    source = open_image(np.zeros((32, 32), np.uint8), axes="YX")
    with pytest.raises(ValueError, match=words):
        prepare_file(source, tmp_path / "a.ome.zarr", model=TINY, options=options, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_digest_is_independent_of_paths():
    source = open_image(np.zeros((32, 32), np.uint8), axes="YX")
    first, second = (make_job(source, TINY, Options(noise="none"), "cpu", output) for output in ("a.zarr", "b.zarr"))
    assert first.digest == second.digest
    assert make_job(source, TINY, Options(noise="none", seed=1), "cpu").digest != first.digest


def test_pipeline_reads_only_tile_and_halo():
    class Watched:
        shape, dtype = (64, 4000), np.dtype(np.uint8)
        largest = 0

        def __getitem__(self, key):
            part = np.zeros(self.shape, np.uint8)[key]
            self.largest = max(self.largest, part.size)
            return part

    watched = Watched()
    source = open_image(watched, axes="YX")
    job = make_job(source, TINY, Options(noise="none", tile=32, halo=8, intensity=(0, 255)), "cpu")
    watched.largest = 0
    pipeline = Pipeline(job, source, StandIn(lambda tiles, *_: tiles), MemorySink(source))
    list(pipeline.run())
    assert watched.largest == (32 + 8) * (32 + 16)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_both_outputs_are_checked_before_writing(tmp_path, suffix):
    source = open_image(np.random.default_rng(0).random((40, 40), np.float32), axes="YX")
    options, output = Options(noise="none", tile=16, halo=8, passes=2, std=True), tmp_path / f"o{suffix}"
    foreign = tmp_path / f"o_std{suffix}"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("the only copy")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="o_std"):
            prepare_file(source, output, model=TINY, options=options, device="cpu", overwrite=overwrite)
        assert [p.name for p in tmp_path.rglob("*")] == [foreign.name, "thesis.txt"]


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_journal_without_output_is_not_resumed(tmp_path, suffix):
    source = open_image(np.random.default_rng(0).random((40, 40), np.float32), axes="YX")
    output = tmp_path / f"o{suffix}"
    settings = {"model": TINY, "options": Options(noise="none", tile=16, halo=8), "device": "cpu"}
    pipeline = prepare_file(source, output, **settings).pipeline
    for event in pipeline.run():
        if isinstance(event, TileDone):
            pipeline.cancel.set()
    for made in tmp_path.iterdir():
        if made.is_dir():
            shutil.rmtree(made)
    with pytest.raises(JobError, match="its journal lists finished tiles"):
        prepare_file(source, output, resume=True, **settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(noise="none", intensity=(0, float("inf"))), "finite"),
        (Options(noise="none", seed=2**64), "choose 0"),
    ],
)
def test_out_of_range_numbers_are_refused(options, words):
    with pytest.raises(JobError, match=words):
        prepare_array(open_image(np.zeros((40, 40), np.uint8), axes="YX"), model=TINY, options=options, device="cpu")


def test_failure_before_the_first_tile_releases_the_output(tmp_path):
    stack = np.random.default_rng(0).integers(0, 256, (2, 40, 40), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", stack)
    output, how = tmp_path / "out.ome.zarr", {"model": tiny_model(1), "noise": "none", "device": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="axes guessed") as held:  # keeps the traceback and its references alive
            denoise_file(tmp_path / "in.tif", output, **how)
    axes = {"axes": "ZYX"}
    assert isinstance(denoise_file(tmp_path / "in.tif", output, **how, **axes, overwrite=True), Finished)
    assert held.tb is not None
    with (
        open_image(tmp_path / "in.tif", axes="ZYX") as source,
        prepare_file(source, output, model=TINY, overwrite=True) as prepared,
    ):
        list(prepared.pipeline.run())
        written = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert written == {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert [path.name for path in tmp_path.glob("out*")] == [output.name]


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_stale_standard_deviation_is_reported_and_kept(tmp_path, suffix):
    source = open_image(np.random.default_rng(0).random((40, 40), np.float32), axes="YX")
    output, std = tmp_path / f"o{suffix}", tmp_path / f"o_std{suffix}"

    def run_job(output, **options):
        again = {"overwrite": output.exists()}
        options = Options(noise="none", tile=16, halo=8, **options)
        with prepare_file(source, output, model=TINY, options=options, device="cpu", **again) as prepared:
            list(prepared.pipeline.run())
        return [message for message in prepared.messages if "earlier job" in message]

    assert run_job(std) == run_job(output) == []  # an unrelated result with this name
    std.unlink() if std.is_file() else shutil.rmtree(std)
    assert run_job(output, std=True, passes=2) == run_job(output, std=True, passes=2) == []
    before = std.stat().st_mtime_ns
    (message,) = run_job(output)
    assert message.startswith(str(std))
    assert std.stat().st_mtime_ns == before


def test_api_warns_of_guessed_axes_and_nan():
    model = tiny_model(1)
    stack = np.random.default_rng(0).random((2, 40, 40), np.float32)
    with pytest.warns(UserWarning, match="axes guessed as CYX .* set axes to"):
        denoise(stack, model=model, noise="none")
    stack[0, 3, 4] = np.nan
    with pytest.warns(UserWarning, match="NaN or infinite"):
        assert np.isnan(denoise(stack, model=model, axes="CYX", noise="none")).sum() == 1
