"""Checks that no module of the package can execute code from a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "masked_denoiser"

#: Modules that can execute code while they load data.
_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "jsonpickle"}
#: Imports from them that are allowed: torch raises this error, and safe_load makes only plain values.
_HARMLESS = {("pickle", "UnpicklingError"), ("yaml", "YAMLError"), ("yaml", "safe_load")}
_CALLS = {"eval", "exec", "compile", "__import__"}


def violations(code: str) -> list[str]:
    """Return the statements of a module that could execute code from a file."""
    return [statement for node in ast.walk(ast.parse(code)) for statement in _unsafe_statements(node)]


def _unsafe_statements(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {a.name}" for a in node.names if a.name.partition(".")[0] in _MODULES)
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _MODULES:
        names = {(str(node.module), alias.name) for alias in node.names}
        yield from (f"from {module} import {name}" for module, name in sorted(names - _HARMLESS))
    if isinstance(node, ast.Call):
        yield from _unsafe_calls(node)


def _unsafe_calls(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in _CALLS or name in ("os.system", "os.popen"):
        yield f"{name}()"
    if name == "torch.load" and keywords.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if keywords.get("allow_pickle", "False") != "False":
        yield f"{name} with allow_pickle"
    if keywords.get("shell", "False") != "False":
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
def test_unsafe_code_is_detected(code: str) -> None:
    assert violations(code)


def test_no_module_executes_file_contents() -> None:
    modules = sorted(SOURCES.rglob("*.py"))
    assert len(modules) > 100
    violations_by_module = {
        str(path.relative_to(SOURCES)): violations(path.read_text(encoding="utf-8")) for path in modules
    }
    assert {name: statements for name, statements in violations_by_module.items() if statements} == {}
