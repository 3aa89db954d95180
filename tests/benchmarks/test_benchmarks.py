"""Tests of the benchmarks: their differences and the table that they write."""

import json
import sys

import pytest
import torch
from benchmarks.__main__ import main
from benchmarks.measure import measure_matrix_peak
from benchmarks.network import measure_network


@pytest.mark.long
def test_table_is_written_between_marks(tmp_path, monkeypatch, capsys):
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- benchmarks -->\nold\n<!-- end of benchmarks -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "network", "--sides", "64", "--json", "--write", str(page)])
    main()
    report = json.loads(capsys.readouterr().out)
    rows = {row["what"]: row for row in report["rows"]}
    exact, half = rows["paper's network, 64 x 64, float32"], rows["paper's network, 64 x 64, bfloat16"]
    assert exact["difference"] <= 1e-5 < half["difference"]
    assert exact["times"] == pytest.approx(exact["plain"] / exact["ours"])
    assert half["lost"] <= 0.02
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| paper's network, 64 x 64, float32 |" in text
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="lacks the lines"):
        main()


def test_matrix_peak_is_plausible():
    assert 1e8 < measure_matrix_peak(torch.device("cpu"), torch.float32) < 1e16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_network_equals_plain_formulation():
    rows = measure_network((128,), torch.device("cuda"), ("float32",))
    assert rows[0].difference <= 1e-5
