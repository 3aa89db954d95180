"""Reads noise recipes; errors point at the character. The grammar stands in `recipe`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from masked_denoiser.errors import RecipeError
from masked_denoiser.noise.synthetic.families import FAMILIES, Parameter
from masked_denoiser.noise.synthetic.recipe import Interval, NoiseRecipe, OneOf, Step

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<number>[-+]?(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][-+]?\d+)?)|(?P<sign>\.\.|[+(),=]))"
)


#: Characters that a recipe may have.
_LONGEST = 10_000

#: Choices within choices.
_DEEPEST = 20


_WANTED = {"word": "the name of a noise or of a number", "number": "a number", "end": "'+' or the end"}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_noise(text: str) -> NoiseRecipe:
    """Reads a recipe such as `one_of(gaussian(sigma=0..50), none)`.

    Raises:
        RecipeError: naming the character, what is wrong there and what would do.
    """
    reader = _Reader(text)
    recipe = reader.recipe()
    reader.expect("end")
    return recipe


class _Reader:
    """Recursive descent: one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _LONGEST:
            raise RecipeError(text, _LONGEST, f"it has {len(text)} characters; {_LONGEST} are allowed")
        self.tokens = _split(text)
        self.depth = 0

    def recipe(self) -> NoiseRecipe:
        steps = [self.step()]
        while self._next_is("+"):
            steps.append(self.step())
        return NoiseRecipe(tuple(steps))

    def step(self) -> Step | OneOf:
        word = self.expect("word")
        if word.text == "one_of":
            return self._one_of()
        if word.text not in FAMILIES:
            raise self._error(word, f"unknown noise {word.text!r:.60}; {_known(word.text, [*FAMILIES, 'one_of'])}")
        given = self._values(word.text) if self._next_is("(") else {}
        return Step(word.text, tuple(given.get(p.name, Interval(p.default, p.default)) for p in _parameters(word.text)))

    def _one_of(self) -> OneOf:
        start = self.expect("(")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error(start, f"more than {_DEEPEST} choices lie within each other; write them side by side")
        recipes = [self.recipe()]
        while self._next_is(","):
            recipes.append(self.recipe())
        self.expect(")", "',' or ')'")
        self.depth -= 1
        return OneOf(tuple(recipes))

    def _values(self, family: str) -> dict[str, Interval]:
        given: dict[str, Interval] = {}
        parameters = {p.name: p for p in _parameters(family)}
        while not self._next_is(")"):
            if given:
                self.expect(",", "',' or ')'")
            name = self.expect("word")
            if name.text not in parameters:
                raise self._error(name, f"{family} has no {name.text!r:.60}; {_known(name.text, list(parameters))}")
            if name.text in given:
                raise self._error(name, f"{name.text} is given twice; leave one out")
            self.expect("=")
            given[name.text] = self._span(parameters[name.text])
        return given

    def _span(self, parameter: Parameter) -> Interval:
        low = self._number(parameter)
        high = self._number(parameter) if (dots := self._next_is("..")) else low
        if dots and high < low:
            raise self._error(dots, f"the range {low:g}..{high:g} runs backwards; write {high:g}..{low:g}")
        return Interval(low, high)

    def _number(self, parameter: Parameter) -> float:
        token = self.expect("number")
        value = float(token.text)
        if not parameter.smallest <= value <= parameter.largest:
            raise self._error(
                token, f"{parameter.name} is {value:g}; allowed are {parameter.smallest:g} to {parameter.largest:g}"
            )
        return value

    def expect(self, kind: str, wanted: str = "") -> _Token:
        token = self.tokens[0]
        if token.kind != kind:
            found = "the text ends" if token.kind == "end" else f"{token.text!r:.60} stands"
            raise self._error(token, f"{found} where {wanted or _WANTED.get(kind, repr(kind))} should be")
        return self.tokens.pop(0)

    def _next_is(self, sign: str) -> _Token | None:
        return self.tokens.pop(0) if self.tokens[0].kind == sign else None

    def _error(self, token: _Token, problem: str) -> RecipeError:
        return RecipeError(self.text, token.at, problem)


def _split(text: str) -> list[_Token]:
    tokens, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if not match or not match.lastgroup:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise RecipeError(text, at, f"{text[at]!r} has no meaning in a recipe")
        word = match[match.lastgroup]
        kind = word if match.lastgroup == "sign" else match.lastgroup
        tokens.append(_Token(kind, word, match.start(match.lastgroup)))
        at = match.end()
    return [*tokens, _Token("end", "", end)]


def _parameters(family: str) -> tuple[Parameter, ...]:
    return FAMILIES[family].parameters


def _known(word: str, names: list[str]) -> str:
    """What the user may have meant, else all that there is."""
    close = get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(names)}" if names else "it takes no numbers"
