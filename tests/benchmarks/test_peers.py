"""Tests of the comparison with other programs, with a program that the tests write."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.pages import replace_between
from benchmarks.peers import checks, compare, run
from benchmarks.peers.command import main
from benchmarks.peers.compare import Runner
from benchmarks.peers.environments import Environment, InstallError, prepare
from benchmarks.peers.images import Case, Kind, cases, spread
from benchmarks.peers.render import render
from benchmarks.peers.run import ADAPTERS, Limits, Outcome
from benchmarks.peers.store import Store
from benchmarks.peers.table import PEERS, Peer
from PIL import Image
from scipy.ndimage import gaussian_filter

from masked_denoiser.errors import EvaluationError

FAKE = """
import numpy as np, pathlib
def work(image, axes, modality):
    with open({log!r}, "a") as log:
        log.write(f"{{axes}} {{modality}}\\n")
    {body}
"""

KIND = Kind("slices", "", modality="ct")


@pytest.fixture
def make_runner(tmp_path, monkeypatch):
    """Return a function that makes a runner of a program with the given body, and the lines that the program logs."""
    folder, log, lines = tmp_path / "adapters", tmp_path / "log", []
    folder.mkdir()
    shutil.copy(ADAPTERS / "worker.py", folder)
    monkeypatch.setattr(run, "ADAPTERS", folder)
    monkeypatch.setattr(compare, "ADAPTERS", folder)

    def make(body, limit=60.0, **options):
        (folder / "fake.py").write_text(FAKE.format(log=str(log), body=body))
        peer = Peer("fake", "fake", ("fake",), "fake:work", "MIT", "nothing")
        environment = Environment(Path(sys.executable), {"fake": "1.0"})
        store = Store(tmp_path / "results.jsonl")
        return Runner(peer, environment, store, Limits(limit), lines.append, **options)

    make.logged = lambda: log.read_text().splitlines() if log.exists() else []
    make.lines = lines
    return make


def case(value=100):
    truth = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    noisy = truth + np.uint8(1)
    noisy[0, 0] = value
    return Case(KIND, "one", "YX", noisy, truth)


def test_program_is_scored_and_finished_results_are_used_again(make_runner):
    entry = make_runner("print('no end of line', end=''); return image.astype(float) - 1").score(case(value=1))
    assert entry["error"] == ""
    assert entry["psnr"] == 100
    assert entry["ssim"] == pytest.approx(1)
    assert entry["cpu"] >= 0
    assert entry["start"] > 0
    assert entry["memory"] > 2**20
    assert make_runner.logged() == ["YX ct"]
    again = make_runner("print('no end of line', end=''); return image.astype(float) - 1")
    assert again.score(case(value=1)) == entry
    assert len(make_runner.logged()) == 1  # from the file of results
    again.score(case(value=2))
    assert len(make_runner.logged()) == 2  # another image
    make_runner("return image.astype(float) - 2").score(case(value=1))
    assert len(make_runner.logged()) == 3  # another adapter


def test_finished_results_are_shown_without_running_anything(make_runner):
    absent = make_runner("return image", finished_only=True).score(case())
    assert absent["error"] == "not run"
    table = render("heading", [make_runner("return image").peer], [absent], {"fake": "1.0"}, {})
    assert "| fake | not run |" in table
    assert "One image of each kind." in table
    assert "Failures" not in table
    entry = make_runner("return image").score(case())
    assert make_runner("return image", finished_only=True).score(case()) == entry
    assert len(make_runner.logged()) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('weights cannot be downloaded')", "ValueError: weights cannot be downloaded"),
        ("return image[1:]", "the result has the shape"),
        ("return image * np.nan", "not finite"),
        ("import os; os.abort()", "ended by SIGABRT"),
        ("raise SystemExit(3)", "exit status 3"),
        ("import os; os._exit(0)", "ended by itself, without a result"),
    ],
)
def test_failures_are_results_with_their_reason(make_runner, body, reason):
    runner = make_runner(body)
    entry = runner.score(case())
    assert reason in entry["error"]
    assert "psnr" not in entry
    assert runner.score(case()) == entry
    assert make_runner.logged() == ["YX ct"]
    make_runner(body, retry=True).score(case())
    assert make_runner.logged() == ["YX ct", "YX ct"]
    table = render("heading", [runner.peer], [entry], {"fake": "1.0"}, {})
    assert "| fake | fails |" in table
    assert f"**fake** on slices: {entry['error']}" in table


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(600)"])
def test_program_that_takes_too_long_is_ended(make_runner, monkeypatch, body):
    monkeypatch.setattr(run, "_WALL_FACTOR", 6.0 if body.startswith("while") else 2.0)
    assert "not finished within 2 CPU seconds" in make_runner(body, limit=2.0).score(case())["error"]


def test_line_cut_off_by_an_interruption_is_measured_again(tmp_path):
    path = tmp_path / "results.jsonl"
    Store(path).add({"peer": "a", "case": "b", "fingerprint": "c", "psnr": 1})
    path.write_text(path.read_text() + '{"peer": "a", "case": "d", "fing')
    store = Store(path)
    assert store.get("a", "b", "c")["psnr"] == 1
    assert store.get("a", "d", "c") is None
    store.add({"peer": "a", "case": "d", "fingerprint": "c", "psnr": 2})
    assert Store(path).get("a", "d", "c")["psnr"] == 2


def test_tables_hold_means_and_costs_per_megapixel():
    peers = [Peer("fast", "", ("f",), "", "MIT", "sigma"), Peer("slow|er", "", ("s",), "", "GPL", "time")]

    def entry(peer, number, psnr, cpu, axes="YX", pixels=2_000_000):
        figures = {"psnr": psnr, "ssim": psnr / 100, "start": 1.5, "cpu": cpu, "memory": 5e6 * cpu, "error": ""}
        return {"peer": peer, "case": f"{axes}{number}", "kind": axes, "axes": axes, "pixels": pixels} | figures

    entries = [
        entry("fast", 1, 30, 4),
        entry("fast", 2, 31, 6),
        entry("slow|er", 1, 40, 8),
        entry("slow|er", 2, 41, 8),
        entry("fast", 1, 20, 1, "YXS", 3_000_000),
        {"peer": "slow|er", "case": "YXS1", "kind": "YXS", "axes": "YXS", "pixels": 3_000_000, "error": "not run"},
        {"peer": "fast", "case": "check: blank", "verdict": "NaN"},
        {"peer": "slow|er", "case": "check: blank", "verdict": "fails: ValueError: no"},
    ]
    text = render("heading", peers, entries, {"fast": "2", "slow|er": "3"}, {"gone": "no wheel"})
    assert "- Not installed: **gone**: no wheel" in text
    assert "|  | YX (2) | YXS (1) |" in text
    assert "| fast | 30.50 / 0.305 | 20.00 / 0.200 |" in text
    assert "| slow\\|er | 40.50 / 0.405 | not run |" in text
    # The values of three colours are one pixel: one CPU second for one megapixel.
    assert "| fast | 1.5 | 2.5 | 1 | n/a | 30 |" in text
    assert "| slow\\|er | 1.5 | 4 | not run | n/a | 40 |" in text
    assert "| fast | NaN |" in text
    assert "| slow\\|er | fails |" in text
    assert text.endswith('### Failures\n\n- **slow|er** on "blank": ValueError: no\n')


def in_process(function):
    """Return a program of the checks that computes here."""

    def array(image, axes):
        result = function(image)
        return (Outcome("it failed"), None) if result is None else (Outcome("", memory=result.nbytes), result)

    return checks.Programs(array, None)


def test_checks_tell_good_programs_from_bad_ones(tmp_path):
    blur = in_process(lambda image: gaussian_filter(image.astype(np.float32), 1, axes=(0, 1)))
    assert checks.colour(blur) == "yes"
    assert checks.not_a_number(blur).startswith("NaN in")
    assert checks.blank(blur) == "yes"
    assert checks.repeated(blur) == "yes"
    plane = in_process(lambda image: gaussian_filter(image, 1, axes=(-2, -1)))
    assert checks.stack_16_bit(plane) == "yes; uint16"
    assert checks.pixel_size(tmp_path, plane) == "arrays only"
    unit = in_process(lambda image: image / image.max())
    assert checks.stack_16_bit(unit).startswith("error")
    generator = np.random.default_rng(0)
    assert checks.repeated(in_process(lambda image: image + generator.normal(size=image.shape))).startswith(
        "differs by"
    )
    assert checks.blank(in_process(lambda image: image + 7.0)) == "changed by up to 7"
    assert checks.colour(in_process(lambda image: image[..., 0])).startswith("shape")
    assert checks.colour(in_process(lambda image: None)) == "fails: it failed"
    assert checks.memory(tmp_path, in_process(lambda image: image.astype(np.float64))) == "8 MB"


def test_images_are_paired_spread_and_cut(tmp_path):
    for folder, value in (("fmd/noisy", 10), ("fmd/clean", 20)):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("Confocal_1", "Confocal_2", "TwoPhoton_1", "WideField_1"):
            Image.fromarray(np.full((40, 50), value + len(name), np.uint8)).save(tmp_path / folder / f"{name}.png")
    found = list(cases(tmp_path, count=2, crop=32, volume=None))
    assert [(c.kind.name.split()[0], c.name) for c in found] == [
        ("confocal,", "Confocal_1"),
        ("confocal,", "TwoPhoton_1"),
        ("wide-field,", "WideField_1"),
    ]
    assert all(c.noisy.shape == (32, 32) and (c.truth - c.noisy == 10).all() for c in found)
    (tmp_path / "fmd/clean/WideField_1.png").unlink()
    with pytest.raises(EvaluationError, match="1 files fmd/noisy/W"):
        list(cases(tmp_path, count=2, crop=32, volume=None))
    assert list(spread(24, 3)) == [0, 12, 23]
    assert list(spread(3, 0)) == [0, 1, 2]


def test_every_program_has_an_adapter_and_a_name_of_its_own():
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    installs = {}
    for peer in PEERS:
        assert installs.setdefault(peer.environment, peer.install) == peer.install
        module, _, function = peer.adapter.partition(":")
        source = (ADAPTERS / f"{module}.py").read_text()
        assert f"def {function}(image: Image, axes: str, modality: str) -> Image:" in source
        assert ("def denoise_file(" in source) >= peer.files


def test_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- peers -->\nold\n<!-- end of peers -->\nb\n")
    replace_between(page, "peers", "new\n")
    assert page.read_text() == "a\n<!-- peers -->\n\nnew\n\n<!-- end of peers -->\nb\n"
    page.write_text("a\n")
    with pytest.raises(SystemExit, match="lacks the lines"):
        replace_between(page, "peers", "new")


@pytest.mark.long
def test_real_program_is_installed_and_compared(tmp_path, capsys):
    (tmp_path / "data" / "kodak24").mkdir(parents=True)
    y, x = np.mgrid[:64, :64]
    clean = np.stack([x * 3, y * 3, (x + y) * 2], axis=-1).astype(np.uint8)
    Image.fromarray(clean).save(tmp_path / "data" / "kodak24" / "a.png")
    page = tmp_path / "page.md"
    page.write_text("<!-- peers -->\n<!-- end of peers -->\n")
    arguments = ["--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"), "--write", str(page)]
    peers = [peer for peer in PEERS if peer.environment in ("numpy", "scikit-image")]
    gone = Peer("gone", "gone", (str(tmp_path / "no-such-package"),), "gone:work", "", "")
    main([*arguments, "--parts", "quality"], peers=[*peers, gone])
    lines = (tmp_path / "cache" / "results.jsonl").read_text().splitlines()
    psnr = {entry["peer"]: entry["psnr"] for entry in map(json.loads, lines)}
    assert set(psnr) == {peer.name for peer in peers}
    assert min(value for name, value in psnr.items() if name != "noisy input") > psnr["noisy input"] + 3
    assert "- Not installed: **gone**:" in page.read_text()
    assert "scikit-image, wavelets" in page.read_text()
    with pytest.raises(InstallError):
        prepare(gone, tmp_path / "cache", None, 0.0)  # the failure is remembered
    main([*arguments, "--parts", "quality"], peers=[*peers, gone])
    assert (tmp_path / "cache" / "results.jsonl").read_text().splitlines() == lines
    capsys.readouterr()
