"""Tests of the trainer: learning, resumption, cancellation and failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import masked_denoiser as md
from masked_denoiser.errors import MaskedDenoiserError, StoppedEarlyError, TrainingError
from masked_denoiser.images.open import open_image
from masked_denoiser.messages import Message
from masked_denoiser.models.file import read_model
from masked_denoiser.models.random_weights import random_model, start_network
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.checkpoint import read_step
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.data.patches import PatchSampler, TrainingImage
from masked_denoiser.training.distributed import ProcessGroup
from masked_denoiser.training.events import Saved, Stepped, Trained, Validated
from masked_denoiser.training.fine_tune import fine_tune_recipe, load_base
from masked_denoiser.training.prepare import prepare_training, training_folder
from masked_denoiser.training.recipe import FINE_TUNE, GENERAL, TrainingRecipe
from masked_denoiser.training.validation import unseen_noises


def prepare(tissue, tiny, recipe, output=None, **kwargs):
    folder = training_folder(output) if output else None
    images = kwargs.pop("images", TrainingImages((tissue,), axes="YXS"))
    return prepare_training(images, recipe, base=tiny, output=output, folder=folder, device="cpu", **kwargs)


def weights_after(prepared):
    *_, last = prepared.run()
    return {name: tensor.clone() for name, tensor in prepared.trainer.state.network.state_dict().items()}, last


def test_overfits_a_single_batch(tiny):
    """Train on one patch without noise or masks: the loss must fall below 20% of its initial value."""
    ys, xs = np.mgrid[:16, :16]
    patch = np.stack([ys * 13 % 255, xs * 11 % 255, (ys + xs) * 7 % 255], axis=-1).astype(np.uint8)
    validation_image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    recipe = TrainingRecipe(
        noise="none", unseen=(), masked_patches=0, attention_mask=(0, 0), patch=16, batch=1, steps=300, rate=5e-3
    )
    images = TrainingImages((np.tile(patch, (1, 1, 1)),), validation=(validation_image,), axes="YXS")
    losses = [e.loss for e in prepare(None, tiny, recipe, images=images).run() if isinstance(e, Stepped)]
    assert np.mean(losses[-20:]) < 0.2 * losses[0]


def test_events_log_and_card_of_a_training(tissue, tiny, quick, tmp_path):
    output = tmp_path / "mine.safetensors"
    prepared = prepare(tissue, tiny, replace(quick, rate=1e-2, ema=0.5), output)
    events = list(prepared.run())
    steps = [e for e in events if isinstance(e, Stepped)]
    assert [e.step for e in steps] == list(range(1, 9))
    validated = [e for e in events if isinstance(e, Validated)]
    assert [e.step for e in validated] == [0, 4, 8]
    assert list(validated[0].psnr) == ["gaussian(sigma=15)", "speckle(variance=0.04)"]
    assert validated[0].picture.shape[2] == 3
    last = events[-1]
    assert isinstance(last, Trained)
    assert (last.why, last.step) == ("finished", 8)
    best = max(validated, key=lambda e: e.psnr["gaussian(sigma=15)"])
    assert (last.best_step, last.best_psnr) == (best.step, best.psnr["gaussian(sigma=15)"])
    log = [json.loads(line) for line in (tmp_path / "mine.training" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 9))
    assert (tmp_path / "mine.training" / "validation.png").stat().st_size > 1000
    card = read_model(output).card
    assert card.training["recipe"]["noise"] == "gaussian(sigma=15)"
    assert card.training["validation_psnr"] == last.after
    assert card.training["begun_from"]["name"] == tiny.card.name
    assert card.architecture.attention_mask == 0.75
    assert card.description.startswith(f"Trained from {tiny.card.name} for {last.best_step} steps on 1 image: noise ")
    assert card.licence == "unknown", "it is for the user to state"


def test_best_weights_are_kept(tissue, tiny, quick, tmp_path):
    """With a learning rate that ruins the network, the original model is saved, with its own card.

    The noise of the useless training would change how images are treated.
    """
    base = md.fine_tune(tiny, [tissue], axes="YXS", device="cpu", steps=40, patch=16, rate=1e-2, unseen=[])
    prepared = prepare(tissue, base, replace(quick, rate=1.0), tmp_path / "ruined.safetensors")
    *_, last = prepared.run()
    assert last.best_step == 0
    kept = read_model(tmp_path / "ruined.safetensors")
    assert kept.digest == base.digest
    description = "tiny-tuned, unchanged: no validated step of a training on 1 image was better."
    assert kept.card == replace(base.card, name="ruined", description=description)


def test_last_weights_are_kept_on_request(tissue, tiny, quick, tmp_path):
    """With `keep="last"`, as in the paper, the average at the last step is saved, even if it is not the best."""
    prepared = prepare(tissue, tiny, replace(quick, rate=1.0, keep="last"), tmp_path / "last.safetensors")
    events = list(prepared.run())
    assert events[-1].best_step == 8
    assert events[-1].after == [e for e in events if isinstance(e, Validated)][-1].psnr
    kept = read_model(tmp_path / "last.safetensors")
    assert kept.card.training["kept_step"] == 8
    average = prepared.trainer.state.average.state_dict()
    assert all(torch.equal(kept.weights[name], average[name]) for name in kept.weights)


def test_scores_are_those_of_the_weights_that_a_stopped_training_keeps(tissue, tiny, quick, tmp_path):
    """Between two validations the last scores are of other weights; the state of a resumed training is unchanged."""
    output = tmp_path / "last.safetensors"
    prepared = prepare(tissue, tiny, replace(quick, keep="last", rate=1e-2, ema=0.5, steps=50), output)
    for event in prepared.run():
        if isinstance(event, Stepped) and event.step == 7:
            prepared.trainer.cancel.set()
    trainer = prepared.trainer
    network = trainer.state.average.eval()
    expected = trainer.validator.score(network, 0.75, torch.device("cpu")).psnr
    assert expected != trainer.state.last
    assert (event.why, event.after) == ("stopped", expected)
    assert read_model(output).card.training["validation_psnr"] == expected
    assert trainer.state.validated == 4
    assert trainer.state.best_step in (0, 4)


def test_early_stop_keeps_best_weights(tissue, tiny, quick, tmp_path):
    base = md.fine_tune(tiny, [tissue], axes="YXS", device="cpu", steps=40, patch=16, rate=1e-2, unseen=[])
    recipe = replace(quick, rate=1.0, keep="last", patience=1)
    *_, last = prepare(tissue, base, recipe, tmp_path / "tired.safetensors").run()
    assert (last.why, last.best_step) == ("no better", 0)


def test_resumed_training_ends_in_identical_weights(tissue, tiny, quick, tmp_path):
    """Cancel at several steps within this process; the next test kills processes."""
    whole, uninterrupted = weights_after(prepare(tissue, tiny, quick, tmp_path / "whole.safetensors"))
    output = tmp_path / "parts.safetensors"
    for stop, resume in ((3, False), (4, True), (8, True)):  # 4 and 8: during validations, which are repeated
        prepared = prepare(tissue, tiny, quick, output, resume=resume)
        for event in prepared.run():
            if isinstance(event, Stepped) and event.step == stop:
                prepared.trainer.cancel.set()
        assert event.why == "stopped"
        output.unlink()
    parts, last = weights_after(prepare(tissue, tiny, quick, output, resume=True))
    assert last.why == "finished"
    assert (last.best_step, last.after) == (uninterrupted.best_step, uninterrupted.after)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    kept = [read_model(tmp_path / name).weights for name in ("whole.safetensors", "parts.safetensors")]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


_CLI_CODE = """
import sys
import numpy as np, torch
from masked_denoiser.cli.main import main
torch.set_num_threads(1)
sys.exit(main(sys.argv[1:]))
"""


def test_killed_training_resumes_to_identical_weights(tissue, tiny, quick, tmp_path):
    """Send SIGKILL at random times: the weights are bitwise equal to those of an uninterrupted run."""
    import tifffile

    tifffile.imwrite(tmp_path / "tissue.tif", tissue, photometric="rgb")
    tiny.save(tmp_path / "tiny.safetensors")
    settings = ["--set", "patch=16", "--set", "save_every=1", "--set", "unseen=[]", "--steps", "60", "--batch", "2"]

    def start(name, *more):
        files = [str(tmp_path / "tissue.tif"), "--output", str(tmp_path / name)]
        command = [sys.executable, "-c", _CLI_CODE, "fine-tune", *files, "--from", str(tmp_path / "tiny.safetensors")]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*command, *settings, "--quiet", "--device", "cpu", *more], env=env)

    assert start("whole.safetensors").wait(120) == 0
    rng = np.random.default_rng()
    checkpoint = tmp_path / "killed.training" / "checkpoint.pt"
    for number in range(3):
        process = start("killed.safetensors", *(["--resume"] if checkpoint.exists() else ["--overwrite"]))
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns > before:
                break
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.3)))
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL, f"kill {number} came after the end"
    assert start("killed.safetensors", "--resume").wait(120) == 0
    whole, killed = (read_model(tmp_path / f"{name}.safetensors").weights for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_stop_takes_effect_within_a_step(tissue, tiny, quick):
    """Cancellation is checked between micro-batches; the unfinished step is discarded."""
    prepared = prepare(tissue, tiny, replace(quick, batch=64, micro_batch=1, steps=3, validate_every=0))
    events = prepared.run()
    assert isinstance(next(events), Validated)
    threading.Timer(0.2, prepared.trainer.cancel.set).start()
    last = list(events)[-1]
    assert last.why == "stopped"
    assert last.step < 3


def break_loss(monkeypatch, prepared, steps):
    """Replace the loss of these steps by NaN."""
    from masked_denoiser.training import step

    original = step.loss_sum

    def broken(kind, out, target, mask=None):
        total, count = original(kind, out, target, mask)
        return (total * float("nan") if prepared.trainer.state.step in steps else total), count

    monkeypatch.setattr(step, "loss_sum", broken)


def test_divergence_restores_snapshot_and_halves_rate(tissue, tiny, quick, monkeypatch):
    prepared = prepare(tissue, tiny, replace(quick, steps=10))
    break_loss(monkeypatch, prepared, {2, 5, 6, 7})  # a single NaN only skips its step
    snapshots, rates = {}, {}
    for event in prepared.run():
        if isinstance(event, Stepped):
            snapshots[event.step] = {n: t.clone() for n, t in prepared.trainer.state.average.state_dict().items()}
            rates[event.step] = event.rate
        if isinstance(event, Message) and "multiplied the learning rate by 0.5" in event.text:
            network = prepared.trainer.state.network.state_dict()
            assert all(torch.equal(network[name], snapshots[5][name]) for name in network)
    assert event.why == "finished"
    assert (rates[5], rates[8], rates[9]) == (quick.rate, quick.rate, 0.5 * quick.rate)
    assert np.isfinite([float(t.sum()) for t in prepared.trainer.state.network.state_dict().values()]).all()


def test_repeated_divergence_ends_with_best_weights(tissue, tiny, quick, tmp_path, monkeypatch):
    prepared = prepare(tissue, tiny, replace(quick, steps=40), tmp_path / "mine.safetensors")
    break_loss(monkeypatch, prepared, range(4, 99))
    events = list(prepared.run())
    assert any(isinstance(e, Message) and "try a lower learning rate" in e.text for e in events)
    assert events[-1].why == "diverged"
    state = prepared.trainer.state
    assert state.step == 16
    for network in (state.network, state.average):
        assert all(torch.equal(tensor, state.best[name]) for name, tensor in network.state_dict().items())


def test_divergence_without_validations_keeps_the_last_snapshot(tissue, tiny, quick, tmp_path, monkeypatch):
    recipe = replace(quick, steps=40, validate_every=0)
    prepared = prepare(tissue, tiny, recipe, tmp_path / "mine.safetensors")
    break_loss(monkeypatch, prepared, range(4, 99))
    events = list(prepared.run())
    assert (events[-1].why, events[-1].best_step) == ("diverged", 4)
    assert read_model(tmp_path / "mine.safetensors").digest != tiny.digest


def test_error_leaves_a_checkpoint_of_the_last_complete_step(tissue, tiny, quick, tmp_path):
    prepared = prepare(tissue, tiny, replace(quick, save_every=0), tmp_path / "mine.safetensors")
    read = prepared.trainer.patches.get

    def get(step, cancel=None):
        if step == 3:
            raise OSError("the network drive is gone")
        return read(step, cancel)

    prepared.trainer.patches.get = get
    with pytest.raises(OSError, match="drive"):
        list(prepared.run())
    assert read_step(tmp_path / "mine.training" / "checkpoint.pt") == 3


def test_infinite_gradient_clears_optimiser_state(tissue, tiny, quick, monkeypatch):
    prepared = prepare(tissue, tiny, replace(quick, steps=40))
    parameter = next(prepared.trainer.state.network.parameters())
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    assert list(prepared.run())[-1].why == "diverged"
    assert not prepared.trainer.state.optimiser.state


def test_training_by_time_ends_on_time(tissue, tiny, quick, tmp_path):
    output = tmp_path / "mine.safetensors"
    recipe = replace(quick, steps=1, minutes=0.03, schedule="one-cycle", validate_every=0)
    events = [e for e in prepare(tissue, tiny, recipe, output).run() if isinstance(e, Stepped)]
    assert len(events) > 1, "steps do not count"
    assert events[-1].seconds_left == 0
    assert events[0].seconds_left > 0.5
    peak = max(event.rate for event in events)
    assert events[-1].rate < 0.2 * peak
    again = prepare(tissue, tiny, replace(recipe, minutes=0.04), output, resume=True, overwrite=False)
    more = [e for e in again.run() if isinstance(e, Stepped)]
    assert more[0].step == events[-1].step + 1


class SecondProcess(ProcessGroup):
    """Process that trains alone, but gets the values of the first one: it has a different clock."""

    def broadcast(self, value, device):
        return 0.5


def test_learning_rate_by_time_is_that_of_the_first_process(tissue, tiny, quick):
    """Processes compile for different times, which their progress excludes."""
    recipe = replace(quick, minutes=10.0, schedule="cosine")
    prepared = prepare(tissue, tiny, recipe, ranks=SecondProcess())
    for event in prepared.run():
        if isinstance(event, Stepped):
            assert event.rate == recipe.rate_at(0.5)
            prepared.trainer.cancel.set()
    assert event.step == 1


class IgnoringAdam(torch.optim.Adam):
    """Optimiser that ignores `found_inf`, as that of MPS does in some versions of torch."""

    def step(self, closure=None):
        self.found_inf = None
        return super().step(closure)


def test_infinite_gradients_are_skipped_by_optimisers_that_ignore_them(tissue, tiny, quick, monkeypatch):
    monkeypatch.setattr("masked_denoiser.training.step._CHECKED_ON_HOST", ("cpu",))
    prepared = prepare(tissue, tiny, replace(quick, steps=3))
    state = prepared.trainer.state
    state.optimiser = IgnoringAdam(state.network.parameters(), fused=True)
    break_loss(monkeypatch, prepared, {1})
    moments = []
    for event in prepared.run():
        if isinstance(event, Stepped):
            moments.append(float(sum(values["exp_avg_sq"].sum() for values in state.optimiser.state.values())))
    assert np.isfinite(moments).all()
    assert moments[1] == moments[0]
    assert all(torch.isfinite(tensor).all() for tensor in state.network.state_dict().values())
    assert all(torch.isfinite(tensor).all() for tensor in state.average.state_dict().values())


def test_out_of_memory_halves_micro_batch_only(tissue, tiny, quick, allow_one_patch):
    recipe = replace(quick, attention_mask=(0.0, 0.0), micro_batch=4, steps=3)
    whole, _ = weights_after(prepare(tissue, tiny, recipe))
    allow_one_patch()
    prepared = prepare(tissue, tiny, recipe)
    events = list(prepared.run())
    messages = [e.text for e in events if isinstance(e, Message)]
    assert [text.split(":")[1].strip()[:5] for text in messages] == ["now 2", "now 1"]
    parts = prepared.trainer.state.network.state_dict()
    assert all(torch.allclose(whole[name], parts[name], atol=2e-5) for name in whole)


def test_early_stop(tissue, tiny, quick):
    events = list(prepare(tissue, tiny, replace(quick, rate=1e-9, ema=0.0, steps=50, patience=2)).run())
    assert events[-1].why == "no better"
    assert events[-1].step < 50


@pytest.mark.parametrize("way", ["clean", "noisy", "pairs"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ways_of_supervision(tissue, way, channels):
    base = untrained_tiny(channels)
    rng = np.random.default_rng(0)
    noisy = np.clip(tissue + rng.normal(0, 25, tissue.shape), 0, 255).astype(np.uint8)
    images = (tissue,) if way == "clean" else (noisy,)
    tuned = md.fine_tune(
        base,
        images,
        clean=(tissue,) if way == "pairs" else (),
        way=way,
        axes="YXS",
        steps=30,
        patch=16,
        batch=4,
        rate=3e-3,
        validate_every=10,
        unseen=[],
        device="cpu",
    )
    training = tuned.card.training
    (before,), (after,) = training["validation_psnr_before"].values(), training["validation_psnr"].values()
    assert after > before + 3, "it learned"


def untrained_tiny(channels):
    from masked_denoiser.evaluation.tile_error import tiny_model

    return tiny_model(0, channels)


def test_untrained_paper_network():
    model = start_network()
    assert model.card.architecture.attention_mask == 0.75
    assert start_network(1).card.architecture.channels == 1


def test_bfloat16_losses_are_finite(tissue, tiny, quick):
    events = list(prepare(tissue, tiny, replace(quick, precision="bfloat16", steps=4)).run())
    assert np.isfinite([e.loss for e in events if isinstance(e, Stepped)]).all()


def test_clean_patches_do_not_dominate_validation(tissue):
    """Otherwise the identity, perfect on clean patches, would be the best step of every general training."""
    identity = random_model(UConfig(widths=(8,), blocks=(0,), attention=1, heads=2))
    noise = "one_of(none, gaussian(sigma=25))"
    recipe = TrainingRecipe(noise=noise, unseen=(), patch=16, batch=1, steps=1, attention_mask=(0.5, 0.5))
    *_, end = prepare(tissue, identity, recipe).run()
    assert 19 < end.before[noise] < 28


def test_saved_event_follows_checkpoint_file(tissue, tiny, quick, tmp_path):
    prepared = prepare(tissue, tiny, quick, tmp_path / "mine.safetensors")
    for event in prepared.run():
        if isinstance(event, Saved):
            assert torch.load(prepared.run_folder.checkpoint, weights_only=True)["step"] == event.step


@pytest.mark.parametrize(
    ("settings", "kwargs", "message"),
    [
        ({"patch": 20}, {}, r"choose a multiple of 8 for this model \(--set patch=16\)"),
        ({"way": "pairs"}, {}, "belong together"),
        ({"patch": 136}, {}, "less than a patch of 136"),
        ({}, {"output": "mine.pth"}, "does not end in .safetensors"),
        ({}, {"output": "missing/mine.safetensors"}, "does not exist; name an existing folder"),
        ({}, {"resume": True, "output": "mine.safetensors"}, "no checkpoint to resume from"),
        ({}, {"licence": "MIT\x1b[31m"}, "has control characters; write it as one line"),
    ],
)
def test_invalid_arguments_write_nothing(tissue, tiny, quick, tmp_path, settings, kwargs, message):
    output = kwargs.pop("output", None)
    with pytest.raises(MaskedDenoiserError, match=message):
        prepare(tissue, tiny, replace(quick, **settings), tmp_path / output if output else None, **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tissue, tiny, quick, tmp_path):
    (tmp_path / "mine.training").write_text("a file is in the way")
    with pytest.raises(TrainingError, match="cannot be written"):
        prepare(tissue, tiny, quick, tmp_path / "mine.safetensors")


def test_resume_of_another_training_is_refused(tissue, tiny, quick, tmp_path):
    output = tmp_path / "mine.safetensors"
    list(prepare(tissue, tiny, quick, output).run())
    with pytest.raises(TrainingError, match="contains a training; continue it with --resume"):
        prepare(tissue, tiny, quick, output)
    with pytest.raises(TrainingError, match=r"belongs to another training .*rate"):
        prepare(tissue, tiny, replace(quick, rate=3e-4), output, resume=True)
    more = prepare(tissue, tiny, replace(quick, steps=10), output, resume=True)
    assert list(more.run())[-1].step == 10
    training_folder(output).joinpath("checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(TrainingError, match="is damaged"):
        prepare(tissue, tiny, quick, output, resume=True)


def test_fine_tuning_keeps_attention_mask_of_model(tiny):
    assert fine_tune_recipe(tiny, {}).attention_mask == (0.75, 0.75)
    assert fine_tune_recipe(tiny, {"attention_mask": [0, 0.75]}).inference_mask == 0.0
    assert fine_tune_recipe(tiny, {"way": "noisy"}).pixel_fill == "neighbour"


def test_fine_tuning_of_unmasked_model_masks_no_pixels(tiny):
    training = {"recipe": json.loads(GENERAL.to_json())}
    unmasked = replace(tiny.card.architecture, attention_mask=GENERAL.inference_mask)
    general = replace(tiny, card=replace(tiny.card, architecture=unmasked, training=training))
    described = replace(tiny, card=replace(tiny.card, training={"recipe": "as in the paper"}))  # as of paper-rgb
    assert fine_tune_recipe(tiny, {}).masked_patches == FINE_TUNE.masked_patches
    assert fine_tune_recipe(described, {}).masked_patches == FINE_TUNE.masked_patches
    assert fine_tune_recipe(general, {}).masked_patches == 0.0
    assert fine_tune_recipe(general, {"masked_patches": 0.5}).masked_patches == 0.5
    assert fine_tune_recipe(general, {"way": "noisy"}).masked_patches == 1.0


def test_resumed_fine_tuning_keeps_batch_and_precision(tissue, tiny, quick, tmp_path):
    output = tmp_path / "mine.safetensors"
    list(prepare(tissue, tiny, replace(quick, batch=32, precision="bfloat16", steps=1), output).run())
    resumed = fine_tune_recipe(tiny, {}, torch.device("cpu"), training_folder(output))
    assert (resumed.batch, resumed.precision) == (32, "bfloat16")
    assert fine_tune_recipe(tiny, {"batch": 4}, resumed=training_folder(output)).batch == 4


def test_automatic_base_model_matches_channels(tissue):
    assert load_base("auto", [tissue], "YXS").card.name == "general-rgb"
    assert load_base("auto", [tissue[..., 0]], "YX").card.name == "general-gray"


_RANK_CODE = """
import sys
from pathlib import Path
import numpy as np, torch
from dataclasses import replace
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.prepare import prepare_training
from masked_denoiser.training.distributed import process_group
from masked_denoiser.training.recipe import TrainingRecipe

tissue = np.load(sys.argv[1])
recipe = TrainingRecipe(batch=4, patch=16, steps=4, rate=1e-3, attention_mask=(0.0, 0.0), unseen=(), micro_batch=1)
with process_group(torch.device("cpu")) as (ranks, device):
    images = TrainingImages((tissue,), axes="YXS")
    prepared = prepare_training(images, recipe, base=tiny_model(1), device=device, ranks=ranks)
    list(prepared.run())
    torch.save(prepared.trainer.state.network.state_dict(), f"{sys.argv[2]}_{ranks.rank}.pt")
"""


def test_two_processes_equal_one(tissue, tmp_path):
    np.save(tmp_path / "tissue.npy", tissue)
    (tmp_path / "rank.py").write_text(_RANK_CODE)
    arguments = [str(tmp_path / "rank.py"), str(tmp_path / "tissue.npy")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    for command, name in (([sys.executable], "one"), (torchrun, "two")):
        done = subprocess.run(
            [*command, *arguments, str(tmp_path / name)], env=env, timeout=240, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    one, first, second = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one_0", "two_0", "two_1")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.allclose(one[name], first[name], atol=2e-5) for name in one)


def test_unsampled_nan_patches_are_skipped():
    small = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    bad = TrainingImage(open_image(np.where(np.arange(64)[:, None, None] < 40, small, np.nan), axes="YXS"), 3)
    pool = PatchSampler((bad,), 16)
    places = [pool.draw(np.random.default_rng(number)) for number in range(30)]
    assert max(place.row for place in places) <= 24
    assert pool.skipped == {"array"}


@pytest.mark.parametrize(
    "case", ["same", "exposure", "other scale", "larger scale", "nan", "constant", "twice", "validation", "outside"]
)
def test_inconsistent_images_are_refused(tissue, tiny, quick, case):
    other = tissue[::-1].copy()
    noisy = replace(quick, way="pairs")
    images, recipe, message = {
        "same": (TrainingImages((tissue,), (tissue.copy(),), axes="YXS"), noisy, "are the same image"),
        "exposure": (
            TrainingImages((tissue // 8,), (tissue,), axes="YXS"), noisy, "multiply array by 0.12.* and add",
        ),
        "other scale": (TrainingImages((tissue,), (other / 255.0,), axes="YXS"), noisy, "one intensity scale"),
        "larger scale": (TrainingImages((tissue / 255.0,), (other,), axes="YXS"), noisy, "one intensity scale"),
        "nan": (
            TrainingImages((tissue / 255.0,), (np.full(tissue.shape, np.nan),), axes="YXS"), noisy, "contains NaN",
        ),
        "constant": (TrainingImages((tissue,), (np.zeros_like(tissue),), axes="YXS"), noisy, "is constant"),
        "twice": (TrainingImages((tissue, other, tissue.copy()), axes="YXS"), quick, "same image; give it once"),
        "validation": (TrainingImages((tissue,), validation=(tissue.copy(),), axes="YXS"), quick, "both training"),
        "outside": (
            TrainingImages((tissue,), axes="YXS", regions=(((Span(0, 999), Span(0, 20)),),)), quick, "is not inside",
        ),
    }[case]  # fmt: skip
    with pytest.raises(TrainingError, match=message):
        prepare(None, tiny, recipe, images=images)


def test_pairs_of_different_dtypes_train_alike(tissue, tiny, quick):
    clean = np.clip(tissue.astype(float) * 0.9 + 5, 0, 255).round()
    recipe = replace(quick, way="pairs")
    weights = []
    for dtype in (np.uint8, np.float32, np.uint16):
        images = TrainingImages((tissue,), (clean.astype(dtype),), axes="YXS")
        prepared = prepare(None, tiny, recipe, images=images)
        list(prepared.run())
        weights.append(prepared.trainer.state.average.state_dict())
    for name, expected in weights[0].items():
        for others in weights[1:]:
            assert torch.allclose(others[name], expected, atol=1e-5), name


def test_resume_with_other_regions_or_pixels_is_refused(tissue, tiny, quick, tmp_path):
    def prepared(pixels, region, **kwargs):
        images = TrainingImages((pixels,), axes="YXS", regions=((region,),))
        return prepare(None, tiny, quick, tmp_path / "mine.safetensors", images=images, **kwargs)

    first = (Span(0, 64), Span(0, 64))
    list(prepared(tissue, first).run())
    (tmp_path / "mine.safetensors").unlink()
    again = prepared(tissue, first, resume=True)
    assert again.trainer.state.step == 8
    list(again.run())
    for pixels, region in ((tissue, (Span(0, 64), Span(64, 128))), (255 - tissue, first)):
        with pytest.raises(TrainingError, match="belongs to another training"):
            prepared(pixels, region, resume=True)


def test_stop_while_reading_images(tissue, tiny, quick, tmp_path):
    class Slow:
        """Image that cancels the training at its third read."""

        shape, dtype, reads = tissue.shape, tissue.dtype, 0

        def __getitem__(self, key):
            self.reads += 1
            if self.reads == 3:
                cancel.set()
            return tissue[key]

    cancel, slow = threading.Event(), Slow()
    images = TrainingImages((slow, tissue[::-1].copy()), axes="YXS")
    with pytest.raises(StoppedEarlyError):
        prepare(None, tiny, quick, tmp_path / "mine.safetensors", images=images, cancel=cancel)
    assert not list(tmp_path.iterdir())


def test_trained_noises_are_not_listed_as_unseen(quick):
    ranged = replace(quick, noise="one_of(mixture(level=1..2), none)", unseen=("speckle(variance=0.04)", "jpeg"))
    assert unseen_noises(ranged) == ("jpeg",)


def test_stop_skips_validation(tissue, tiny, quick):
    prepared = prepare(tissue, tiny, quick)
    prepared.trainer.cancel.set()
    events = list(prepared.run())
    assert not any(isinstance(e, Validated | Stepped) for e in events)
    assert (events[-1].why, events[-1].step) == ("stopped", 0)


def test_missing_tensorboard_is_reported(tissue, tiny, quick, tmp_path, monkeypatch):

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match=r"napari-masked-denoiser\[train\]"):
        prepare(tissue, tiny, quick, tmp_path / "mine.safetensors", tensorboard=True)
