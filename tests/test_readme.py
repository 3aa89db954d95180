"""Tests of README and manual pages: Python code runs, commands parse, make targets, scripts and links exist."""

import ast
import inspect
import re
import runpy
import shlex
from pathlib import Path

import pytest

import masked_denoiser
from masked_denoiser.cli.main import build_parser
from masked_denoiser.evaluation.tile_error import tiny_model

ROOT = Path(__file__).parents[1]
_NAMES = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
_FILES = [*(ROOT / name for name in _NAMES), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in _FILES}

# The blocks of the tutorials build on each other and are run by tests/docs/test_tutorials.py.
MANUAL = {page: text for page, text in PAGES.items() if not page.startswith("docs/tutorials/")}


def blocks(language):
    """Return the (page, text) of all code blocks of a language."""
    pattern = rf"```{language}\n(.*?)```"
    return [(page, code) for page, text in MANUAL.items() for code in re.findall(pattern, text, flags=re.DOTALL)]


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_blocks_run(page, code, monkeypatch, tmp_path, capsys):
    original = masked_denoiser.denoise

    def denoise_with_tiny_model(*arguments, **options):
        return original(*arguments, model=tiny_model(), **({"noise": "none"} | options))

    monkeypatch.setattr(masked_denoiser, "denoise", denoise_with_tiny_model, raising=False)
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # code of this repository
    if "sample_path" in code:
        assert "YXS (512, 512, 3) uint8" in capsys.readouterr().out


def test_readme_and_manual_have_python_blocks():
    assert {"README.md", "docs/python.md"} <= {page for page, _ in blocks("python")}


@pytest.mark.parametrize(("page", "code"), blocks("py"))
def test_unrunnable_python_matches_signatures(page, code):
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("masked_denoiser"):
            exec(ast.unparse(node), {})
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("md."):
            function = getattr(masked_denoiser, node.func.attr)
            inspect.signature(function).bind(*node.args, **{keyword.arg: keyword.value for keyword in node.keywords})


def commands():
    lines = [line for _, text in blocks("sh") for line in text.splitlines()]
    return [line for line in lines if re.match(r"(\w+='.*' )?masked-denoiser ", line)]


def test_all_commands_are_found():
    starts = [line for text in MANUAL.values() for line in text.splitlines() if line.startswith("masked-denoiser ")]
    assert len(commands()) >= len(starts) >= 40


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line):
    words = shlex.split(line, comments=True)
    assert build_parser().parse_args(words[words.index("masked-denoiser") + 1 :]).handler


def test_make_targets_exist():
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"(?:`|^ *)make ([a-z-]+)", "\n".join(PAGES.values()), flags=re.MULTILINE)
    assert {"demo", "test"} <= set(re.findall(r"\bmake ([a-z-]+)", PAGES["README.md"])) <= set(targets)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_scripts_exist(page):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if "://" not in link]
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    scripts = re.findall(r"\b(?:docs/generate|tools|tests|benchmarks|recipes)/[\w/.-]*\w", PAGES[page])
    modules = [f"{name.replace('.', '/')}.py" for name in re.findall(r"python -m (tests[\w.]+)", PAGES[page])]
    package_paths = re.findall(r"`([\w/]+/\w+\.(?:py|yaml))`", PAGES[page])
    package = ROOT / "src" / "masked_denoiser"
    missing += [path for path in [*scripts, *modules] if not (ROOT / path).exists()]
    assert not missing + [path for path in package_paths if not ((ROOT / path).exists() or (package / path).exists())]


def test_architecture_drawing_is_current():
    drawing = runpy.run_path(str(ROOT / "docs" / "generate" / "architecture.py"))["draw"]()
    assert (ROOT / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8") == drawing


@pytest.mark.parametrize("page", PAGES)
def test_anchors_exist(page):
    for link in re.findall(r"\]\(([^)\s:]*#[^)\s]+)\)", PAGES[page]):
        target, _, anchor = link.partition("#")
        path = ((ROOT / page).parent / target).resolve().relative_to(ROOT).as_posix() if target else page
        headings = re.findall(r"^#+ (.*)$", PAGES[path], flags=re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
