"""Tests of the model card for the Hugging Face hub: its metadata are read by a YAML parser, as the hub does."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.catalogue import find_model, list_models
from masked_denoiser.models.file import read_card
from masked_denoiser.models.hugging_face import hugging_face_card

CARD = tiny_model().card

#: Text of one line, as the fields of a card allow.
TEXTS = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" :#'\"-[]{}|>&*!%@`"), min_size=1)


def parts(text):
    """Return the metadata and the Markdown of a card."""
    _, metadata, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(metadata), body


@pytest.mark.parametrize("name", [entry.name for entry in list_models() if entry.bundled])
def test_card_of_bundled_model(name, capsys):
    assert main(["models", "card", name]) == 0
    metadata, body = parts(capsys.readouterr().out)
    card = read_card(find_model(name))
    assert metadata["license"] == "bsd-3-clause"
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("masked-denoiser", "image-to-image")
    assert {"denoising", "napari", "arxiv:2303.13132"} <= set(metadata["tags"])
    assert body.startswith(f"\n# {name}\n\n{card.description}\n")
    assert all(item in body for item in card.data)
    assert json.loads(re.search(r"```json\n(.*)\n```", body)[1]) == json.loads(card.to_json())["architecture"]
    scores = card.training.get("validation_psnr", {})
    results = [result for entry in metadata.get("model-index", []) for result in entry["results"]]
    assert [result["metrics"][0]["value"] for result in results] == [round(value, 2) for value in scores.values()]


@given(name=TEXTS, licence=TEXTS, noise=TEXTS)
def test_metadata_keep_any_text(name, licence, noise):
    name = name.replace("/", "").replace("\\", "")[:200].strip(" .") or "a"
    card = replace(CARD, name=name, licence=licence, training={"validation_psnr": {noise: 31.5, "broken": "much"}})
    metadata, _ = parts(hugging_face_card(card, 1, "a.safetensors"))
    (entry,) = metadata["model-index"]
    assert entry["name"] == name
    assert [result["dataset"]["name"] for result in entry["results"]] == [f"held-out images, {noise}"]
    assert re.fullmatch(r"[a-z0-9.-]+", metadata["license"])
    assert metadata["license"] != "other" or re.fullmatch(r"[a-z0-9.-]+", metadata["license_name"])


def test_only_data_sets_of_the_hub_are_linked():
    card = replace(CARD, data=["someone/cells", "BSDS500, 400 photographs", "a/b/c"])
    metadata, body = parts(hugging_face_card(card, 1, "a.safetensors"))
    assert metadata["datasets"] == ["someone/cells"]
    assert "- BSDS500, 400 photographs\n" in body


def test_existing_file_is_kept(tmp_path, capsys):
    path = tmp_path / "README.md"
    assert main(["models", "card", "general-gray", "--output", str(path)]) == 0
    written = path.read_bytes()
    assert main(["models", "card", "paper-rgb", "--output", str(path)]) == 1
    assert "choose another name" in capsys.readouterr().err
    assert path.read_bytes() == written
