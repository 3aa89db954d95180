"""Every noise family against its definition on large samples, and against scikit-image where available."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from skimage.transform import iradon
from skimage.util import random_noise

from masked_denoiser.noise.synthetic.families import FAMILIES
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise, add_noise_to_batch

SIDE = 1024
GREY = 1 / 255


def noise_of(text, level=0.5, seed=0, shape=(1, 1, SIDE, SIDE)):
    """Return the noise that a recipe adds to a constant image, [H, W] float64."""
    images = torch.full(shape, level)
    noisy = add_noise(images, parse_noise(text), torch.Generator().manual_seed(seed), clip=False)
    return (noisy.double() - images.double())[0, 0].numpy()


def correlation(noise, dy, dx):
    """Return the correlation of pixels at this distance."""
    height, width = noise.shape
    near, far = noise[: height - dy, : width - dx], noise[dy:, dx:]
    return float(np.corrcoef(near.ravel(), far.ravel())[0, 1])


def is_white(noise):
    return all(abs(correlation(noise, *step)) < 0.005 for step in ((0, 1), (1, 0), (1, 1), (0, 2)))


def test_gaussian():
    noise = noise_of("gaussian(sigma=15)")
    assert noise.mean() == pytest.approx(0, abs=0.1 * GREY)
    assert noise.std() == pytest.approx(15 * GREY, rel=0.005)
    assert stats.kstest(noise.ravel()[:20_000], "norm", (0, 15 * GREY)).pvalue > 1e-3
    assert is_white(noise)
    ours = random_noise(np.full((SIDE, SIDE), 0.5), "gaussian", var=(15 * GREY) ** 2, clip=False, rng=0) - 0.5
    assert noise.var() == pytest.approx(ours.var(), rel=0.01)


@pytest.mark.parametrize("alpha", [1, 3.5])
def test_poisson(alpha):
    # 256 distinct values, so that v = 256: the variance at x is alpha^2 x / 256, and the skewness 1 / sqrt(256 x).
    ramp = torch.arange(256).repeat(2048, 1)[None, None] / 255
    noisy = add_noise(ramp, parse_noise(f"poisson(alpha={alpha})"), torch.Generator().manual_seed(0), clip=False)
    noise, x = (noisy - ramp)[0, 0].double().numpy(), np.arange(256) / 255
    np.testing.assert_allclose(noise.var(axis=0)[20:], (alpha**2 * x / 256)[20:], rtol=0.2)
    assert (noise.var(axis=0)[20:] / (alpha**2 * x / 256)[20:]).mean() == pytest.approx(1, abs=0.01)
    assert abs(noise.mean()) < 1e-3
    assert stats.skew(noise[:, 100]) == pytest.approx(1 / math.sqrt(256 * x[100]), abs=0.15)


def test_poisson_matches_skimage():
    image = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE)) / 255
    ours = add_noise(torch.from_numpy(image)[None, None].float(), parse_noise("poisson(alpha=1)"), generator(0))
    theirs = random_noise(image, "poisson", rng=0)
    ours = ours[0, 0].numpy()
    assert (ours - image).var() == pytest.approx((theirs - image).var(), rel=0.01)
    # v = 256 for 200 distinct values: both know only multiples of 1/256
    np.testing.assert_allclose(ours * 256, np.rint(ours * 256), atol=1e-3)
    np.testing.assert_allclose(theirs * 256, np.rint(theirs * 256), atol=1e-3)


def test_poisson_counts_values_per_image():
    few = torch.tensor([0.2, 0.8]).repeat(1, 1, SIDE, SIDE // 2)  # v = 2
    many = (torch.arange(SIDE * SIDE) % 256 / 255).view(1, 1, SIDE, SIDE)  # v = 256
    both = add_noise(torch.cat([few, many]), parse_noise("poisson(alpha=1)"), generator(0), clip=False)
    assert (both[0] - few[0]).var() == pytest.approx(0.5 / 2, rel=0.02)
    assert (both[1] - many[0]).var() == pytest.approx(0.5 / 256, rel=0.02)


def test_speckle():
    noise = noise_of("speckle(variance=0.04)", level=0.5)
    assert noise.var() == pytest.approx(0.04 * 0.25, rel=0.01)
    half_width = math.sqrt(3 * 0.04) * 0.5
    assert stats.kstest(noise.ravel()[:20_000], "uniform", (-half_width, 2 * half_width)).pvalue > 1e-3
    assert is_white(noise)
    assert noise_of("speckle(variance=0.04)", level=0.0).var() == 0


def test_salt_and_pepper():
    noisy = noise_of("salt_and_pepper(density=0.2)") + 0.5
    assert (noisy == 0).mean() == pytest.approx(0.1, rel=0.02)
    assert (noisy == 1).mean() == pytest.approx(0.1, rel=0.02)
    assert (noisy == 0.5).mean() == pytest.approx(0.8, rel=0.01)
    ours = random_noise(np.full((SIDE, SIDE), 0.5), "s&p", amount=0.2, rng=0)
    assert (noisy == 1).mean() == pytest.approx((ours == 1).mean(), rel=0.03)


def test_salt_and_pepper_is_independent_per_sample():
    colour = add_noise(torch.full((1, 3, 256, 256), 0.5), parse_noise("salt_and_pepper(density=0.5)"), generator(0))
    assert not torch.equal(colour[0, 0], colour[0, 1])


def test_correlated():
    noise = noise_of("correlated(sigma=60)")
    assert noise.std() == pytest.approx(20 * GREY, rel=0.01)
    for lag in range(4):  # the autocorrelation of a 3 x 3 mean is a triangle
        assert correlation(noise, 0, lag) == pytest.approx(max(0, 3 - lag) / 3, abs=0.01)
        assert correlation(noise, lag, 0) == pytest.approx(max(0, 3 - lag) / 3, abs=0.01)
    assert noise[0].std() == pytest.approx(20 * GREY, rel=0.1)  # no weaker at the border


def test_poisson_gaussian():
    for level in (0.1, 0.8):
        noise = noise_of("poisson_gaussian(gain=4, offset=10, read=3)", level=level)
        photons = level * 255 / 4
        assert noise.mean() == pytest.approx(10 * GREY, rel=0.01)
        assert noise.var() == pytest.approx((photons + 9) * (4 * GREY) ** 2, rel=0.01)
        assert stats.skew(noise.ravel()) == pytest.approx(photons / (photons + 9) ** 1.5, abs=0.02)
        assert is_white(noise)


@pytest.mark.parametrize(("vertical", "axis"), [(0, 1), (1, 0)])
def test_stripes(vertical, axis):
    noise = noise_of(f"stripes(sigma=10, vertical={vertical})", shape=(1, 1, 4096, 4096))
    assert np.ptp(noise, axis=axis).max() == pytest.approx(0, abs=1e-7)
    assert noise.mean(axis=axis).std() == pytest.approx(10 * GREY, rel=0.05)
    lines = noise.mean(axis=axis)
    assert abs(np.corrcoef(lines[1:], lines[:-1])[0, 1]) < 0.06


def test_reconstruction_has_the_correlation_of_back_projected_noise():
    white = np.random.default_rng(0).normal(size=(256, 720))
    angles = np.linspace(0, 180, 720, endpoint=False)
    slice_ = iradon(white, angles, filter_name="hann", interpolation="cubic", circle=True)[64:192, 64:192]
    noise = noise_of("reconstruction(sigma=12)")
    assert noise.std() == pytest.approx(12 * GREY, rel=0.01)
    for step in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 2), (0, 4)):
        assert correlation(noise, *step) == pytest.approx(correlation(slice_, *step), abs=0.03)


def test_streaks_of_reconstruction_are_lines():
    images = torch.full((8, 1, 256, 256), 0.5)
    noisy = add_noise(images, parse_noise("reconstruction(sigma=12, streaks=8)"), generator(0), clip=False)
    steps = [(0, 2), (2, 0), (2, 2)]
    for noise in (noisy - images)[:, 0].numpy():
        assert noise.std() == pytest.approx(12 * GREY, rel=0.05)
        along = [correlation(noise, *step) for step in steps] + [correlation(noise[::-1], 2, 2)]
        assert max(along) - min(along) > 0.4


def test_jpeg():
    image = torch.rand(1, 3, 64, 64, generator=generator(0))
    errors = [
        float((add_noise(image, parse_noise(f"jpeg(quality={q})"), generator(1)) - image).std()) for q in (95, 50, 10)
    ]
    assert errors == sorted(errors)
    even = torch.full((2, 1, 64, 64), 77 / 255)
    np.testing.assert_allclose(add_noise(even, parse_noise("jpeg(quality=90)"), generator(0)), even, atol=1.1 * GREY)


def test_mixture_has_its_components():
    chain = (
        "poisson(alpha=0.75) + speckle(variance=0.0075) + gaussian(sigma=7.5) "
        "+ correlated(sigma=15) + salt_and_pepper(density=0.003)"
    )
    np.testing.assert_array_equal(noise_of("mixture(level=3)"), noise_of(chain))


@pytest.mark.parametrize("name", FAMILIES)
@given(seed=st.integers(0, 2**31), side=st.integers(1, 40), channels=st.sampled_from([1, 3]))
def test_every_family_is_finite_seeded_and_keeps_the_shape(name, seed, side, channels):
    images = torch.rand(2, channels, side, side + 1, generator=generator(seed))
    once, again = (add_noise(images, parse_noise(name), generator(seed), levels=255) for _ in range(2))
    assert once.shape == images.shape
    assert torch.equal(once, again)
    assert once.min() >= 0
    assert once.max() <= 1
    np.testing.assert_allclose(once * 255, (once * 255).round(), atol=1e-4)


def test_each_image_draws_its_own_range_and_choice():
    images = torch.full((64, 1, 32, 32), 0.5)
    noisy = add_noise(images, parse_noise("one_of(none, gaussian(sigma=10..40))"), generator(0), clip=False)
    spread = (noisy - images).std(dim=(1, 2, 3)) * 255
    left = (spread == 0).sum()
    assert 20 < left < 44
    drawn = spread[spread > 0]
    assert 8 < drawn.min() < 16
    assert 34 < drawn.max() < 43


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("width", [0.4, 1.0, 1.5])
def test_blurred_noise_keeps_its_strength_and_falls_off_as_a_gaussian(width):
    noise = noise_of(f"blurred(sigma=20, width={width})")
    assert noise.std() == pytest.approx(20 * GREY, rel=0.02)
    steps = np.arange(-6, 7)
    kernel = np.exp(-0.5 * (steps / width) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    for distance in (1, 2):
        assert correlation(noise, 0, distance) == pytest.approx(
            (kernel[distance:] * kernel[:-distance]).sum(), abs=0.02
        )
    assert correlation(noise, 1, 0) == pytest.approx(correlation(noise, 0, 1), abs=0.02)


@pytest.mark.parametrize("family", ["blurred", "bayer"])
def test_camera_noise_grows_with_intensity(family):
    dark, bright = (noise_of(f"{family}(sigma=5, gain=4)", level=level).var() for level in (0.1, 0.9))
    black = noise_of(f"{family}(sigma=5)", level=0.5).var()
    assert (bright - dark) / (0.8 * 4 * GREY) == pytest.approx(black / (5 * GREY) ** 2, rel=0.05)


def test_bayer_noise_is_interpolated_within_each_colour():
    images = torch.full((1, 3, 512, 512), 0.5)
    noise = (add_noise(images, parse_noise("bayer(sigma=20)"), generator(0), clip=False) - images)[0] / (20 * GREY)
    red, green, blue = noise.double().numpy()
    assert red[::2, ::2].std() != pytest.approx(red[1::2, 1::2].std(), rel=0.1), "a mosaic of pixels"
    own = max((red[i::2, j::2] for i in (0, 1) for j in (0, 1)), key=np.std)
    assert own.std() == pytest.approx(1, rel=0.03)
    assert abs(correlation(own, 0, 1)) < 0.02, "measured pixels are independent"
    assert correlation(red, 0, 1) > 0.4
    assert abs(np.corrcoef(red.ravel(), blue.ravel())[0, 1]) < 0.02
    assert green.std() > red.std(), "there are twice as many"


def test_rician_noise():
    noise = noise_of("rician(sigma=20)", level=0.0) / (20 * GREY)
    assert noise.mean() == pytest.approx(math.sqrt(math.pi / 2), rel=0.005), "Rayleigh where there is no signal"
    bright = noise_of("rician(sigma=10)", level=0.8) / (10 * GREY)
    assert bright.std() == pytest.approx(1, rel=0.01)
    assert abs(bright.mean()) < 0.05
    assert is_white(bright)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [95, 60, 20])
def test_jpeg_matches_libjpeg(channels, quality):
    """The result matches libjpeg up to rounding, within a hundredth of the compression loss."""
    import imagecodecs
    from skimage.data import immunohistochemistry

    pixels = np.ascontiguousarray(immunohistochemistry()[:203, :310, :channels])
    file = imagecodecs.jpeg8_encode(np.squeeze(pixels), level=quality, subsampling="420")
    wanted = imagecodecs.jpeg8_decode(file).reshape(pixels.shape).astype(float)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    got = add_noise(image, parse_noise(f"jpeg(quality={quality})"), generator(0))[0].permute(1, 2, 0).numpy() * 255
    assert ((got - wanted) ** 2).mean() < 0.25 * ((pixels - wanted) ** 2).mean()
    assert abs(got - wanted).mean() < 1


def test_batch_has_equal_shares_of_the_recipe():
    images = torch.full((40, 1, 64, 64), 0.5)
    recipe = parse_noise("one_of(gaussian(sigma=10), gaussian(sigma=40), none, gaussian(sigma=1..5))")
    noisy = add_noise_to_batch(images, recipe, generator(0), np.random.default_rng(0))
    spread = (noisy - images).std(dim=(1, 2, 3)) * 255
    assert [
        int(((spread > low) & (spread < high)).sum()) for low, high in ((8, 12), (35, 45), (-1, 0.1), (0.9, 5.5))
    ] == [10] * 4
    assert len(spread[30:].unique()) == 10, "each image has a strength of its own"


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_may_differ_per_image(name):
    """A batch with parameters per image has the noise that each image gets separately."""
    family = FAMILIES[name]
    low = {p.name: p.slider_range[0] if p.slider_range else p.default for p in family.parameters}
    high = {p.name: p.slider_range[1] if p.slider_range else p.default for p in family.parameters}
    counts = {"distinct": 256} if family.needs_distinct else {}
    images = torch.rand(1, 3, 48, 48, generator=generator(1)).expand(400, -1, -1, -1) * 0.6 + 0.2
    mixed = {k: torch.tensor([low[k], high[k]]).repeat(200).view(-1, 1, 1, 1) for k in low}
    noise = family.add(images, generator(0), **mixed, **counts) - images
    for first, values in enumerate((low, high)):
        separate = family.add(images[first::2], generator(3), **values, **counts) - images[first::2]
        assert float(noise[first::2].std()) == pytest.approx(float(separate.std()), rel=0.06, abs=1e-4)


@given(count=st.integers(1, 50), choices=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_shares_are_equal_and_add_up(count, choices, seed):
    recipe = parse_noise(f"one_of({', '.join(['none'] * choices)})").steps[0]
    shares = recipe.shares(count, np.random.default_rng(seed))
    assert shares.sum() == count
    assert shares.max() - shares.min() <= 1


@given(st.integers(0, 15), st.integers(0, 15))
def test_jpeg_of_any_phase_is_that_of_a_part_of_a_larger_image(row, column):
    image = torch.rand(1, 3, 96, 96, generator=generator(0))
    whole = FAMILIES["jpeg"].add(image, generator(1), quality=60)[..., row : row + 64, column : column + 64]
    part = image[..., row : row + 64, column : column + 64]
    got = FAMILIES["jpeg"].add(part, generator(1), quality=60, phase=torch.tensor([[row, column]]))
    inside = (..., slice(16, 48), slice(16, 48))  # blocks at the border also contain pixels outside of the part
    torch.testing.assert_close(got[inside], whole[inside])


def test_bayer_noise_of_another_phase_belongs_to_other_pixels():
    images, phases = torch.full((64, 3, 32, 32), 0.5), torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    for row, column in phases.tolist():
        phase = torch.tensor([[row, column]]).expand(64, 2)
        noise = FAMILIES["bayer"].add(images, generator(0), sigma=20, gain=0, phase=phase) - images
        power = noise.square().mean(dim=0).view(3, 16, 2, 16, 2).mean(dim=(1, 3))
        # Measured pixels have the full noise, the others are means of neighbours.
        red, blue = ((power[colour] / (20 * GREY) ** 2 > 0.75).nonzero().tolist() for colour in (0, 2))
        assert blue == [[row, column]]
        assert red == [[1 - row, 1 - column]]


def test_patches_of_a_training_step_have_all_phases():
    image = torch.full((256, 3, 32, 32), 0.5)
    noisy = add_noise_to_batch(image, parse_noise("bayer(sigma=20)"), generator(0), np.random.default_rng(0))
    power = (noisy - image)[:, 2].square().view(256, 16, 2, 16, 2).mean(dim=(1, 3)).flatten(1)
    assert set(power.argmax(dim=1).tolist()) == {0, 1, 2, 3}


def test_blocks_of_a_training_step_begin_anywhere():
    ramp = (torch.arange(64) / 63).expand(64, 1, 64, 64)
    noisy = add_noise_to_batch(ramp, parse_noise("jpeg(quality=5)"), generator(0), np.random.default_rng(0))
    steps = (noisy - ramp).diff(dim=3).abs().mean(dim=(1, 2))  # largest between blocks
    assert len(set((steps[:, :-7].unfold(1, 8, 8).mean(dim=1).argmax(dim=1)).tolist())) == 8
