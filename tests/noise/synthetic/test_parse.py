"""Noise recipes: text round trips, and errors that point at the character."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import RecipeError
from masked_denoiser.noise.synthetic.families import FAMILIES
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import Interval, NoiseRecipe, OneOf, Step


@st.composite
def spans(draw, parameter):
    number = st.floats(parameter.minimum, parameter.maximum).map(lambda v: float(f"{v:.15g}"))
    low, high = sorted((draw(number), draw(number)))
    return Interval(low, high)


@st.composite
def steps(draw):
    family = FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))]
    return Step(family.name, tuple(draw(spans(p)) for p in family.parameters))


RECIPES = st.recursive(
    st.lists(steps(), min_size=1, max_size=3).map(lambda s: NoiseRecipe(tuple(s))),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda r: NoiseRecipe((OneOf(tuple(r)),))),
    max_leaves=4,
)


@given(RECIPES)
def test_recipe_text_round_trip(recipe):
    assert parse_noise(str(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("gaussian(sigma=0..50)", "gaussian(sigma=0..50)"),
        ("  gaussian ( sigma = .5 .. 1e1 )", "gaussian(sigma=0.5..10)"),
        ("stripes(vertical=1)", "stripes(sigma=10, vertical=1)"),
        ("jpeg", "jpeg(quality=30)"),
        ("poisson(alpha=2) + correlated(sigma=20)", "poisson(alpha=2) + correlated(sigma=20)"),
        ("one_of(none, gaussian(sigma=1) + none) + none", "one_of(none, gaussian(sigma=1) + none) + none"),
    ],
)
def test_recipe_text_is_parsed(text, full):
    assert str(parse_noise(text)) == full


@pytest.mark.parametrize(
    ("text", "character", "words"),
    [
        ("", 0, "the text ends"),
        ("gausian(sigma=5)", 0, "did you mean 'gaussian'"),
        ("gaussian(sgma=5)", 9, "did you mean 'sigma'"),
        ("gaussian(sigma=-1)", 15, "allowed are 0 to 255"),
        ("gaussian(sigma=5..1)", 16, "write 1..5"),
        ("gaussian(sigma=5", 16, "',' or ')'"),
        ("gaussian(sigma=5, sigma=6)", 18, "given twice"),
        ("gaussian(sigma=five)", 15, "a number"),
        ("gaussian +", 10, "the text ends"),
        ("gaussian poisson", 9, "'+' or the end"),
        ("none(x=1)", 5, "it takes no parameters"),
        ("one_of()", 7, "the name of a noise"),
        ("gaussian(sigma=5)  % 2", 19, "is not valid"),
    ],
)
def test_errors_point_at_the_character(text, character, words):
    with pytest.raises(RecipeError, match="noise recipe") as caught:
        parse_noise(text)
    assert caught.value.position == character
    assert words in str(caught.value)
    assert f"character {character + 1}:" in str(caught.value)


@given(st.text("gausin_oe(f)+=.,0123456789 \n-"))
def test_any_text_parses_or_raises_noise_error(text):
    with suppress(RecipeError):
        parse_noise(text)
