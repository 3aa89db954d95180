"""Recognition of modalities, and what each changes in a measurement and a result."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.phantoms import abdomen, head, magnitude, reconstructed, reflectivity, speckled
from scipy.ndimage import gaussian_filter

import masked_denoiser as md
from masked_denoiser.denoising.measurement.modality import recorded_modality, stated_modality
from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.errors import NoiseError
from masked_denoiser.images.open import open_image
from masked_denoiser.noise.modalities.prior import modality_of_dicom
from masked_denoiser.samples import SAMPLES, sample_path

#: Corner of the phantom of a head, which contains noise alone.
CORNER = np.s_[..., :24, :24]


def measure(pixels, modality="auto", axes="ZYX", stated=""):
    """Return the noise of an image whose file states a modality."""
    return measure_noise(replace(open_image(pixels, axes=axes), modality=stated), modality=modality)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_rician_noise_of_a_head_is_recognised_and_measured(share, dtype):
    scale = 1 if dtype is np.float32 else 400
    noisy = magnitude(head() * scale, share * scale)
    found = measure(noisy.astype(dtype) if scale == 1 else np.rint(noisy).astype(dtype))
    assert found.modality == "mri"
    assert found.ranges[0].rician == pytest.approx(share * scale, rel=0.05)
    black, white = found.estimate.ranges[0]
    assert found.estimate.channels[0].sigma * (white - black) == pytest.approx(share * scale, rel=0.1)
    assert "Rician" in found.estimate.verdict


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_without_background_the_noise_of_the_signal_is_corrected(share):
    noisy = magnitude(head(), share)
    masked = np.where(head() > 0.03, noisy, 0.0)
    for pixels in (masked, noisy[:, 60:130, 60:130]):
        found = measure(pixels, "mri")
        assert found.ranges[0].rician == pytest.approx(share, rel=0.15)
        assert measure(pixels).modality == "other"


def test_file_states_the_modality_unless_the_user_does():
    cropped = magnitude(head(slices=1), 0.05)[:, 60:130, 60:130]
    assert measure(cropped).modality == "other"
    assert measure(cropped, stated="MR").ranges[0].rician > 0
    assert measure(cropped, "other", stated="MR").ranges[0].rician == 0
    assert modality_of_dicom(" ct") == "ct"
    assert modality_of_dicom("SR") is None
    assert recorded_modality({"settings": {"modality": "oct"}}) == "oct"
    assert [recorded_modality(each) for each in ({}, {"settings": 3}, {"settings": {"modality": "nonsense"}})] == [
        "auto"
    ] * 3


def test_impossible_modalities_are_refused():
    with pytest.raises(NoiseError, match="RGB"):
        stated_modality("mri", open_image(np.zeros((32, 32, 3), np.uint8), axes="YXS"))
    signed = magnitude(head(slices=1), 0.05) - 0.5
    with pytest.raises(NoiseError, match="negative"):
        measure(signed, "mri")
    stated = measure(signed, stated="MR")  # such as the phase, or a map of diffusion
    assert stated.ranges[0].rician == 0
    assert "negative" in stated.estimate.verdict


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_not_taken_for_mri(name):
    with open_image(sample_path(name)) as source:
        found = measure_noise(source)
    assert found.modality == "other"
    assert not found.estimate.remarks


def microscopy(photons, gain, offset, read, seed=0):
    """Return a fluorescence image with this many photons in its background; an offset below 0 is that of an EMCCD."""
    rng = np.random.default_rng(seed)
    cells = 6.0 * (gaussian_filter(rng.normal(size=(256, 256)), 5) > 0.06)
    counts = rng.poisson(photons * (1 + cells))
    counts = rng.gamma(counts + 1e-9, gain) if offset < 0 else gain * counts
    return np.maximum(counts + max(offset, 0) + rng.normal(0, read, cells.shape), 0)


@pytest.mark.parametrize(
    ("photons", "gain", "offset", "read"),
    [(3.66, 1, 0, 0), (3.66, 20, 0, 0.5), (3.66, 5, 0, 2), (4, 1, -1, 0.2), (8, 2, 3, 1), (1, 4, 3, 3)],
)
def test_dark_microscopy_is_not_taken_for_mri(photons, gain, offset, read):
    image = microscopy(photons, gain, offset, read)
    assert measure(image.astype(np.float32), axes="YX").modality == "other"
    assert measure(np.rint(image).astype(np.uint16), axes="YX").modality == "other"


def psnr(image, truth, peak=1.0):
    return float(10 * np.log10(peak**2 / np.mean((np.asarray(image, np.float64) - truth) ** 2)))


def test_background_of_mri_becomes_zero_and_the_signal_is_no_worse():
    truth, sigma = head(slices=1), 0.05
    noisy = magnitude(truth, sigma).astype(np.float32)
    plain, stabilized = (md.denoise(noisy, axes="ZYX", modality=each) for each in ("other", "mri"))
    assert plain[CORNER].mean() > 1.2 * sigma
    assert stabilized[CORNER].mean() < 0.3 * sigma
    assert psnr(stabilized, truth) > psnr(plain, truth) + 4 > psnr(noisy, truth) + 4
    inside = truth > 0.1
    assert psnr(stabilized[inside], truth[inside]) > psnr(plain[inside], truth[inside]) - 0.2
    given = md.denoise(noisy, axes="ZYX", modality="mri", noise=f"sigma={sigma}")
    assert psnr(given, truth) > psnr(stabilized, truth) - 1


def test_tiles_of_mri_agree_with_the_whole():
    noisy = np.rint(magnitude(head(slices=1) * 1000, 60)).astype(np.uint16)
    settings = {"axes": "ZYX", "modality": "mri", "halo": "exact", "dtype": "float32"}
    whole, tiled = (md.denoise(noisy, tile=tile, **settings) for tile in (256, 64))
    assert np.abs(whole - tiled).max() < 0.05


@pytest.mark.parametrize(("kernel", "photons"), [("hann", 3e4), ("ramp", 1e5)])
def test_noise_of_a_reconstruction_is_removed_if_it_is_a_ct(kernel, photons):
    noisy, clean = reconstructed(abdomen(), photons, kernel=kernel)
    image = np.rint(noisy).astype(np.int16)
    assert measure(image, axes="YX").estimate.channels[0].correlation == 1
    found = measure(image, axes="YX", stated="CT").estimate
    assert found.channels[0].correlation > 1
    result = md.denoise(image, axes="YX", modality="ct")
    soft = np.abs(clean - 40) < 200
    assert psnr(result[soft], clean[soft], 400) > psnr(image[soft], clean[soft], 400) + 4
    _, ideal = reconstructed(abdomen(), 1e5)
    with pytest.warns(UserWarning, match="left alone"):
        unchanged = md.denoise(np.rint(ideal).astype(np.int16), axes="YX", modality="ct")
    assert (unchanged == np.rint(ideal)).all()


def test_wide_speckle_is_removed_if_it_is_known_to_be_speckle():
    truth = reflectivity()
    noisy = speckled(truth, (1.0, 2.0), looks=4)
    assert measure(noisy, axes="YX").estimate.channels[0].correlation == 1
    result = md.denoise(noisy, axes="YX", modality="ultrasound")
    grey = (truth + 14) * 255 / 60
    errors = [float(np.std(each - grey)) for each in (noisy, result)]
    assert errors[1] < 0.5 * errors[0]


def test_speckle_of_dark_regions_is_not_overestimated():
    """Speckle vanishes at intensity zero, which is below the darkest intensity of an image."""
    rng = np.random.default_rng(1)
    smooth = gaussian_filter(rng.random((384, 384)), 10)
    truth = 2000 * ((smooth - smooth.min()) / np.ptp(smooth)) ** 3 + 20
    image = (truth * (1 + 0.2 * rng.normal(size=truth.shape))).astype(np.float32)
    measured = measure_noise(open_image(image, axes="YX"))
    scale = measured.samples[0].intensity_range
    for percentile in (2, 20, 50, 80, 98):
        intensity = np.percentile(truth, percentile)
        unit = (intensity - scale.low) / scale.span
        found = float(measured.estimate.channels[0].variance.sigma(unit)) * scale.span
        assert found == pytest.approx(0.2 * intensity, rel=0.15)
