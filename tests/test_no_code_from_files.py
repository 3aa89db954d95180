"""Nothing in a file is ever run: what could do so is nowhere in the program."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "masked_denoiser"

#: `pickle.UnpicklingError`, which torch raises, may be imported by its name.
_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "jsonpickle"}
_HARMLESS = {("pickle", "UnpicklingError")}
_CALLS = {"eval", "exec", "compile", "__import__"}


def offences(code: str) -> list[str]:
    """What in a module could run what a file says."""
    return [found for node in ast.walk(ast.parse(code)) for found in _of(node)]


def _of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {a.name}" for a in node.names if a.name.partition(".")[0] in _MODULES)
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _MODULES:
        names = {(str(node.module), alias.name) for alias in node.names}
        yield from (f"from {module} import {name}" for module, name in sorted(names - _HARMLESS))
    if isinstance(node, ast.Call):
        yield from _of_call(node)


def _of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if name in _CALLS or name in ("os.system", "os.popen"):
        yield f"{name}()"
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if given.get("allow_pickle", "False") != "False":
        yield f"{name} with allow_pickle"
    if given.get("shell", "False") != "False":
        yield f"{name} with a shell"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml.loader",
        "eval(text)",
        "os.system('ls')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_offences_are_found(code: str) -> None:
    assert offences(code)


def test_no_module_can_run_what_a_file_says() -> None:
    modules = sorted(SOURCES.rglob("*.py"))
    assert len(modules) > 100
    found = {str(path.relative_to(SOURCES)): offences(path.read_text(encoding="utf-8")) for path in modules}
    assert {name: what for name, what in found.items() if what} == {}
