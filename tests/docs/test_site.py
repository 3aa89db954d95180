"""Tests of the documentation site: it builds without a warning, generated pages are current, pictures have a script."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site, and return its folder."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


def test_site_needs_no_other_host(site):
    loads = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(https?:[^"'\s>]+)""")
    loaded = {page.name: loads.findall(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    assert len(loaded) > 30
    assert not {page: found for page, found in loaded.items() if found}
    assert not re.search(r"@import|url\(['\"]?https?:", "".join(css.read_text("utf-8") for css in site.rglob("*.css")))


def test_site_holds_the_files_outside_of_docs_that_pages_link_to(site):
    assert "recipe" in (site / "repository/src/masked_denoiser/training/recipe.py.txt").read_text(encoding="utf-8")
    contributing = (site / "development/contributing.html").read_text(encoding="utf-8")
    assert 'href="../architecture.html"' in contributing
    assert 'href="changelog.html"' in contributing


def test_python_reference_documents_every_public_name(site):
    import masked_denoiser

    page = (site / "reference/python.html").read_text(encoding="utf-8")
    missing = [
        name for name in masked_denoiser.__all__ if not re.search(rf'id="masked_denoiser\.[\w.]*\b{name}"', page)
    ]
    assert not missing


def test_page_of_commands_is_current():
    script = runpy.run_path(str(ROOT / "docs/generate/site/commands_page.py"))
    assert script["page"]() == script["PAGE"].read_text(encoding="utf-8"), (
        "run python docs/generate/site/commands_page.py"
    )


def test_every_picture_has_a_script_and_is_shown():
    table = (ROOT / "docs/development/pictures.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| `")]
    named = [name for pictures, _ in rows for name in re.findall(r"`([^`]+)`", pictures)]
    present = [path.relative_to(IMAGES).as_posix() for path in IMAGES.rglob("*") if path.is_file()]
    assert sorted(named) == sorted(present)
    scripts = [re.search(r"python (\S+\.py)", script)[1] for _, script in rows]
    assert all((ROOT / script).is_file() for script in scripts)
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert [name for name in present if f"images/{name}" not in pages] == []
