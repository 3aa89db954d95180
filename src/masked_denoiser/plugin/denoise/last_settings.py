"""Settings of the last job, which the dock begins with; without Qt and napari."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.errors import FormError
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models import catalogue
from masked_denoiser.plain_json import parse_json
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.layers.settings_record import settings_of

_log = logging.getLogger(__name__)


def settings_file() -> Path:
    """Return the file of the settings of the last job."""
    return catalogue.user_folder().parent / "denoise-settings.json"


def remember_settings(form: Form) -> None:
    """Store model, device and options for the next time; a failure is logged, as it must not stop a job."""
    path = settings_file()
    record = {"request": {"model": form.model, "device": form.device, "options": asdict(form.options)}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(path) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")
    except OSError as error:
        _log.warning("the settings could not be stored: %s", error)


def recall_settings() -> tuple[str, str, Options] | None:
    """Return model, device and options of the last job; None if there are none that this version understands."""
    try:
        record: Any = parse_json(settings_file().read_text(encoding="utf-8"))
        return settings_of(record)
    except (OSError, ValueError, TypeError, FormError):
        return None


def forget_settings() -> None:
    """Forget the settings of the last job."""
    try:
        settings_file().unlink(missing_ok=True)
    except OSError as error:
        _log.warning("the settings could not be removed: %s", error)
