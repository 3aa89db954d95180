"""Parser of noise recipes, whose errors name the position; the grammar is in `recipe`."""

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

#: Maximum number of characters of a recipe.
_MAX_LENGTH = 10_000

#: Maximum nesting of `one_of`.
_MAX_DEPTH = 20

#: Descriptions of kinds of tokens in error messages.
_EXPECTED = {"word": "the name of a noise or of a parameter", "number": "a number", "end": "'+' or the end"}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_noise(text: str) -> NoiseRecipe:
    """Return the recipe of a text such as `one_of(gaussian(sigma=0..50), none)`.

    Raises:
        RecipeError: if the text is invalid, naming the position, the problem and a remedy.
    """
    parser = _Parser(text)
    recipe = parser.recipe()
    parser.expect("end")
    return recipe


class _Parser:
    """Recursive descent parser with a method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _MAX_LENGTH:
            raise RecipeError(text, _MAX_LENGTH, f"it has {len(text)} characters; {_MAX_LENGTH} are allowed")
        self.tokens = _tokenize(text)
        self.depth = 0

    def recipe(self) -> NoiseRecipe:
        steps = [self.step()]
        while self._accept("+"):
            steps.append(self.step())
        return NoiseRecipe(tuple(steps))

    def step(self) -> Step | OneOf:
        word = self.expect("word")
        if word.text == "one_of":
            return self._one_of()
        if word.text not in FAMILIES:
            raise self._error(word, f"unknown noise {word.text!r:.60}; {_suggest(word.text, [*FAMILIES, 'one_of'])}")
        given = self._values(word.text) if self._accept("(") else {}
        return Step(word.text, tuple(given.get(p.name, Interval(p.default, p.default)) for p in _parameters(word.text)))

    def _one_of(self) -> OneOf:
        start = self.expect("(")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error(start, f"one_of is nested more than {_MAX_DEPTH} times; write a single one_of instead")
        recipes = [self.recipe()]
        while self._accept(","):
            recipes.append(self.recipe())
        self.expect(")", "',' or ')'")
        self.depth -= 1
        return OneOf(tuple(recipes))

    def _values(self, family: str) -> dict[str, Interval]:
        values: dict[str, Interval] = {}
        parameters = {p.name: p for p in _parameters(family)}
        while not self._accept(")"):
            if values:
                self.expect(",", "',' or ')'")
            name = self.expect("word")
            if name.text not in parameters:
                raise self._error(name, f"{family} has no {name.text!r:.60}; {_suggest(name.text, list(parameters))}")
            if name.text in values:
                raise self._error(name, f"{name.text} is given twice; leave one out")
            self.expect("=")
            values[name.text] = self._interval(parameters[name.text])
        return values

    def _interval(self, parameter: Parameter) -> Interval:
        low = self._number(parameter)
        high = self._number(parameter) if (range_sign := self._accept("..")) else low
        if range_sign and high < low:
            raise self._error(range_sign, f"the range {low:g}..{high:g} is reversed; write {high:g}..{low:g}")
        return Interval(low, high)

    def _number(self, parameter: Parameter) -> float:
        token = self.expect("number")
        value = float(token.text)
        if not parameter.minimum <= value <= parameter.maximum:
            raise self._error(
                token, f"{parameter.name} is {value:g}; allowed are {parameter.minimum:g} to {parameter.maximum:g}"
            )
        return value

    def expect(self, kind: str, expected: str = "") -> _Token:
        token = self.tokens[0]
        if token.kind != kind:
            actual = "the text ends" if token.kind == "end" else f"found {token.text!r:.60}"
            raise self._error(token, f"expected {expected or _EXPECTED.get(kind, repr(kind))}, but {actual}")
        return self.tokens.pop(0)

    def _accept(self, sign: str) -> _Token | None:
        return self.tokens.pop(0) if self.tokens[0].kind == sign else None

    def _error(self, token: _Token, problem: str) -> RecipeError:
        return RecipeError(self.text, token.position, problem)


def _tokenize(text: str) -> list[_Token]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if not match or not match.lastgroup:
            position += len(text[position:]) - len(text[position:].lstrip())
            raise RecipeError(text, position, f"{text[position]!r} is not valid in a recipe")
        word = match[match.lastgroup]
        kind = word if match.lastgroup == "sign" else match.lastgroup
        tokens.append(_Token(kind, word, match.start(match.lastgroup)))
        position = match.end()
    return [*tokens, _Token("end", "", end)]


def _parameters(family: str) -> tuple[Parameter, ...]:
    return FAMILIES[family].parameters


def _suggest(word: str, names: list[str]) -> str:
    """Return a suggestion of a similar name, or else a list of all names."""
    matches = get_close_matches(word, names, n=1)
    if matches:
        return f"did you mean {matches[0]!r}?"
    return f"choose one of: {', '.join(names)}" if names else "it takes no parameters"
