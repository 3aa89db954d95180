"""Model card for the Hugging Face hub: README.md with metadata, written from the card of a model."""

from __future__ import annotations

import json
import math
import re
import shlex
from typing import Any

from masked_denoiser.models.card import Card
from masked_denoiser.network.config import SwinConfig

#: Licences by the identifiers of the hub, https://huggingface.co/docs/hub/repositories-licenses.
_HUB_LICENCES = (
    *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense", "unknown"),
)

_PAPER = "2303.13132"


def hugging_face_card(card: Card, parameters: int, file_name: str) -> str:
    """Return the README.md of a repository of the hub that holds a model.

    Args:
        card: the model's card.
        parameters: number of weights.
        file_name: name of the model file in the repository, .safetensors.

    Source: https://huggingface.co/docs/hub/model-cards.
    """
    # Every JSON text without line breaks is a YAML value, also if it has colons, quotes or leading symbols.
    metadata = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in _metadata(card).items())
    return f"---\n{metadata}\n---\n\n{_text(card, parameters, file_name)}"


def _metadata(card: Card) -> dict[str, Any]:
    """Return the metadata of the hub, without empty values."""
    tags = ["denoising", "image-restoration", "microscopy", "napari", "masked-denoiser", f"arxiv:{_PAPER}"]
    values: dict[str, Any] = {
        **_licence(card.licence),
        "library_name": "masked-denoiser",
        "pipeline_tag": "image-to-image",
        "tags": tags,
        # The hub links data sets of its own only; the others are named in the text.
        "datasets": [name for name in card.data if re.fullmatch(r"[\w.-]+/[\w.-]+", name)],
        "metrics": ["psnr"],
        "model-index": _model_index(card),
    }
    return {key: value for key, value in values.items() if value}


def _licence(licence: str) -> dict[str, str]:
    """Return the licence as the hub names it; one that it does not know is "other", with its name."""
    if licence.lower() in _HUB_LICENCES:
        return {"license": licence.lower()}
    name = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    return {"license": "other", "license_name": name or "unnamed"}


def _scores(card: Card) -> dict[str, float]:
    """Return the PSNR in dB of the validation of the training, by noise recipe; empty if the card has none."""
    scores = card.training.get("validation_psnr")
    if not isinstance(scores, dict):
        return {}
    return {
        str(noise): float(value)
        for noise, value in scores.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _model_index(card: Card) -> list[dict[str, Any]]:
    """Return the scores as results of the hub, https://github.com/huggingface/hub-docs/blob/main/modelcard.md."""
    task = {"type": "image-to-image", "name": "Denoising"}
    results = [
        {
            "task": task,
            "dataset": {"type": "validation", "name": f"held-out images, {noise}"},
            "metrics": [{"type": "psnr", "name": "PSNR in dB", "value": round(value, 2)}],
        }
        for noise, value in _scores(card).items()
    ]
    return [{"name": card.name, "results": results}] if results else []


def _text(card: Card, parameters: int, file_name: str) -> str:
    """Return the text for readers, in Markdown."""
    sections = {
        "Use": _use(card, file_name),
        "Network": _network(card, parameters),
        "Training data": "\n".join(f"- {item}" for item in card.data) or "Not stated.",
        "Training": _training(card),
        "Scores": _score_table(card),
        "Limits": _LIMITS,
        "Licence and origin": f"{card.licence}. {card.source}".strip(),
        "Citation": _CITATION,
    }
    body = "\n".join(f"## {title}\n\n{text}\n" for title, text in sections.items() if text)
    return f"# {card.name}\n\n{card.description}\n\n{body}"


def _use(card: Card, file_name: str) -> str:
    colours = "RGB images" if card.architecture.channels == 3 else "gray images and stacks, channel by channel"
    return (
        f"For {colours}. Images of any size and dtype are denoised by the program, which also measures their noise:\n\n"
        "```sh\n"
        'pip install "napari-masked-denoiser[all]"\n'
        f"masked-denoiser denoise image.tif clean.ome.tif --model {shlex.quote(file_name)}\n"
        "```\n\n"
        "```python\n"
        "import masked_denoiser as md\n\n"
        f'md.denoise_file("image.tif", "clean.ome.tif", model={json.dumps(file_name, ensure_ascii=False)})\n'
        "```"
    )


def _network(card: Card, parameters: int) -> str:
    config = card.architecture
    kind = "masked Swin transformer" if isinstance(config, SwinConfig) else "U-shaped network with window attention"
    masked = f", {config.attention_mask:.0%} of the attention tokens masked" if config.attention_mask else ""
    return f"{kind}, {parameters:,} parameters{masked}.\n\n```json\n{json.dumps(config.to_dict())}\n```"


def _training(card: Card) -> str:
    """Return steps, noise and hardware of the last stage; all settings are in the model file."""
    training, recipe = card.training, card.training.get("recipe")
    noise = recipe.get("noise", "") if isinstance(recipe, dict) else training.get("noise", "")
    facts = {
        "steps of the last stage": training.get("steps", ""),
        "noise": f"`{noise}`" if noise else "",
        "hardware": training.get("hardware", ""),
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    return "\n".join([*lines, "", "All settings: `masked-denoiser models info FILE --json`."]).strip()


def _score_table(card: Card) -> str:
    """Return the scores as a table; "" without scores."""
    rows = [f"| `{noise}` | {value:.2f} |" for noise, value in _scores(card).items()]
    head = ["PSNR on images that were held out of the training:", "", "| noise | PSNR in dB |", "| --- | --- |"]
    return "\n".join([*head, *rows]) if rows else ""


_LIMITS = (
    "A network can remove structure that looks like noise, and leave noise that looks like structure. Check what was "
    "removed (`--residual`, `--report`) before you measure in denoised images. Not for diagnosis."
)

_CITATION = f"""\
The method is that of the paper below; the network and the weights are not those of its authors.

```bibtex
@inproceedings{{chen2023masked,
  title = {{Masked Image Training for Generalizable Deep Image Denoising}},
  author = {{Chen, Haoyu and Gu, Jinjin and Liu, Yihao and Magid, Salma Abdel and Dong, Chao and Wang, Qiong and
            Pfister, Hanspeter and Zhu, Lei}},
  booktitle = {{Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition}},
  year = {{2023}},
  note = {{arXiv:{_PAPER}}}
}}
```"""
