"""Tests of the check before a release."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import tomllib

import pytest

from ..test_packaging import PROJECT, ROOT

TOOL = ROOT / "tools" / "check_release.py"
REPOSITORY = "https://example.org/owner/name"
FILES = ("pyproject.toml", "CHANGELOG.md", "tools/check_release.py", "packaging/conda/recipe.yaml")


@pytest.fixture
def check(tmp_path):
    """Return a function that checks a tag of a copy of this repository in which a text is replaced."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    version = PROJECT["version"]
    change(tmp_path / "CHANGELOG.md", "## Unreleased", f"## Unreleased\n\n## {version} - 2026-01-31")
    urls = runpy.run_path(str(TOOL))["URL_PATHS"]
    lines = "".join(f'{name} = "{REPOSITORY}{path}"\n' for name, path in urls.items())
    change(tmp_path / "pyproject.toml", "[project.urls]\n", f"[project.urls]\n{lines}")

    def run(tag=f"v{version}", name="pyproject.toml", old="", new=""):
        change(tmp_path / name, old, new)
        command = [sys.executable, tmp_path / "tools" / "check_release.py", tag, "--repository", REPOSITORY]
        process = subprocess.run(command, capture_output=True, text=True)
        return process.returncode, process.stdout, process.stderr

    return run


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")


def test_matching_tag_prints_only_notes_of_its_version(check):
    code, notes, error = check(name="CHANGELOG.md", old="## Unreleased", new="## Unreleased\n\n- not yet released")
    assert (code, error) == (0, "")
    assert notes.startswith("### Added\n")
    assert "not yet released" not in notes


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"tag": "v9.9.9"}, f"tag v{PROJECT['version']}, or change the version"),
        ({"tag": PROJECT["version"]}, "or change the version"),
        ({"name": "CHANGELOG.md", "old": f"## {PROJECT['version']}", "new": "## 9.9.9"}, 'rename "## Unreleased"'),
        ({"name": "packaging/conda/recipe.yaml", "old": PROJECT["version"], "new": "9.9.9"}, "change the recipe"),
        ({"old": f"{REPOSITORY}/issues", "new": "https://example.org/other/issues"}, f'Issues = "{REPOSITORY}/issues"'),
    ],
)
def test_mismatch_is_refused_with_its_remedy(check, arguments, reason):
    code, notes, error = check(**arguments)
    assert (code, notes) == (1, "")
    assert reason in error


def test_documentation_may_be_elsewhere(check):
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert "Documentation" not in urls or urls["Documentation"].startswith("https://")
    assert check(old=f"{REPOSITORY}/blob/main/docs", new="https://name.readthedocs.io")[0] == 0
