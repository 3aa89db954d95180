"""Names of parameters in messages of the Python interface, which are otherwise those of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.jobs.spec.options import OPTIONS, flag_of

#: Parameters by the flag that messages, which are those of the command line, name.
_PARAMETERS = {flag_of(option): name for name, option in OPTIONS.items()} | {
    f"--{name.replace('_', '-')}": name
    for name in (
        *("model", "axes", "reader", "device", "resume", "overwrite", "scheduler", "workers"),
        *("clean", "validation_clean", "way"),
    )
}

#: Parameters that are switched on by True.
_SWITCHES = ("resume", "overwrite", *(name for name, option in OPTIONS.items() if option.default is False))

_FLAG = re.compile(r"(?<![\w/-])(?P<flag>--[a-z]+(?:-[a-z]+)*)(?: (?P<word>\w+))?")

#: A setting of a training, which is a parameter of `fine_tune`.
_SETTING = re.compile(r"--set (?P<name>\w+)=(?P<value>[\w.]+)")


@contextmanager
def parameters_in_errors() -> Iterator[None]:
    """Let errors name parameters of Python instead of flags."""
    try:
        yield
    except MaskedDenoiserError as error:
        error.args = (with_parameters(str(error)), *error.args[1:])
        raise


def with_parameters(text: str) -> str:
    """Return a message with the parameters of Python in place of flags."""
    return _FLAG.sub(_to_parameter, _SETTING.sub(_to_setting, text))


def _to_setting(match: re.Match[str]) -> str:
    """Return the parameter of a setting, whose value is a text unless it is a whole number."""
    value = match["value"]
    return f"{match['name']}={value if value.isdecimal() else repr(value)}"


def _to_parameter(match: re.Match[str]) -> str:
    """Return the parameter of a flag; with its value, if the next word is one."""
    flag, word = match["flag"], match["word"] or ""
    if flag not in _PARAMETERS:
        return match[0]
    name = _PARAMETERS[flag]
    if word and _is_value(name, word):
        return f"{name}={word!r}"
    return f"{name}{'=True' if name in _SWITCHES else ''}{word and f' {word}'}"


def _is_value(name: str, word: str) -> bool:
    """Return whether the word after the flag of a parameter is a value of it, and not the next word of the sentence."""
    if name in OPTIONS:
        return word in OPTIONS[name].choices
    return name == "way" or (name == "axes" and word.isupper())
