"""The conda recipe must need what pyproject.toml needs."""

from __future__ import annotations

import re

import pytest
import yaml
from packaging.requirements import Requirement

from ..test_packaging import PROJECT, ROOT

RECIPE = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
OUTPUTS = {output["package"]["name"]: output for output in RECIPE["outputs"]}

#: Packages that conda-forge names in another way.
_CONDA_NAMES = {"torch": "pytorch", "dask": "dask-core"}


def needed_by_pip(requirements):
    """Return the lower bound of each requirement, by the name of conda-forge."""
    parsed = [Requirement(text) for text in requirements]
    return {_CONDA_NAMES.get(item.name, item.name): str(item.specifier) for item in parsed}


def needed_by_conda(output, section="run"):
    lines = [line for line in OUTPUTS[output]["requirements"][section] if not line.startswith(("python ", "${{ pin_"))]
    return dict(re.fullmatch(r"(\S+) (\S+)", line).groups() for line in lines if line != "pip")


def test_versions_equal():
    assert RECIPE["context"]["version"] == PROJECT["version"]
    assert f">={RECIPE['context']['python_min']}" == PROJECT["requires-python"]


@pytest.mark.parametrize(
    ("output", "requirements"),
    [
        ("napari-masked-denoiser-core", PROJECT["dependencies"]),
        ("napari-masked-denoiser", PROJECT["optional-dependencies"]["napari"]),
    ],
)
def test_dependencies_equal(output, requirements):
    assert needed_by_conda(output) == needed_by_pip(requirements)


def test_napari_output_needs_core_output_of_same_build():
    run = OUTPUTS["napari-masked-denoiser"]["requirements"]["run"]
    assert '${{ pin_subpackage("napari-masked-denoiser-core", exact=True) }}' in run


def test_core_output_has_command():
    ((name, target),) = PROJECT["scripts"].items()
    core = OUTPUTS["napari-masked-denoiser-core"]
    assert core["build"]["python"]["entry_points"] == [f"{name} = {target}"]
    assert RECIPE["about"]["summary"] == PROJECT["description"]
    assert RECIPE["about"]["license"] == PROJECT["license"]
