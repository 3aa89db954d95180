"""The programs that are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A program or one of its methods.

    Attributes:
        name: of the program and, if it has several, the method.
        environment: name of the environment; peers that share it have the same `install`.
        install: requirements for pip; "." is this repository.
        adapter: module and function in the folder `adapters`.
        licence: as stated by the package.
        given: what the program is given besides the image.
        omit: requirements of the first of `install` that are not installed.
        axes: axes of images that it takes.
        modalities: the only modalities for which it is made; empty for any image.
        files: whether the adapter has `denoise_file`, for programs that turn files into files.
        checked: whether the practical checks are made, which say the same for each method of a program.
    """

    name: str
    environment: str
    install: tuple[str, ...]
    adapter: str
    licence: str
    given: str
    omit: tuple[str, ...] = ()
    axes: tuple[str, ...] = ("YX", "YXS", "ZYX")
    modalities: tuple[str, ...] = ()
    files: bool = False
    checked: bool = True

    def takes(self, axes: str, modality: str) -> bool:
        """Say whether the program is made for images of these axes and this modality."""
        return axes in self.axes and (not self.modalities or modality in self.modalities)


_OURS = ("masked-denoiser", (".", "bm3d"))
_SCIKIT_IMAGE = ("scikit-image", ("scikit-image", "PyWavelets"))

#: All programs, ours first; the first one is the input itself.
PEERS = (
    Peer(
        "noisy input",
        "numpy",
        ("numpy",),
        "without_program:unchanged",
        "",
        "nothing is done",
        checked=False,
        files=False,
    ),
    Peer(
        "masked-denoiser",
        *_OURS,
        "with_masked_denoiser:default",
        "BSD-3-Clause",
        "nothing: the default model and the measured noise",
        files=True,
    ),
    Peer(
        "masked-denoiser, modality stated",
        *_OURS,
        "with_masked_denoiser:stated_modality",
        "BSD-3-Clause",
        '`modality="mri"` or `"ct"`, which a DICOM file states',
        modalities=("mri", "ct"),
        checked=False,
    ),
    Peer(
        "VST + bm3d",
        *_OURS,
        "with_masked_denoiser:vst_bm3d",
        "bm3d: non-commercial",
        "the noise as this project measures it, to stabilise the variance; colours by themselves",
        checked=False,
    ),
    Peer(
        "bm3d",
        "bm3d",
        ("bm3d", "scikit-image", "PyWavelets"),
        "with_bm3d:denoise",
        "non-commercial",
        "sigma by `skimage.restoration.estimate_sigma`; planes by themselves",
    ),
    Peer(
        "bmnd",
        "bmnd",
        ("bmnd", "scikit-image", "PyWavelets"),
        "with_bmnd:denoise",
        "MIT",
        "sigma by `skimage.restoration.estimate_sigma`, Gaussian model; volumes as volumes",
    ),
    Peer(
        "scikit-image, non-local means",
        *_SCIKIT_IMAGE,
        "with_scikit_image:nl_means",
        "BSD-3-Clause",
        "its estimate of sigma; h = 0.8 sigma, patches of 5, distance 6; planes by themselves",
    ),
    Peer(
        "scikit-image, wavelets",
        *_SCIKIT_IMAGE,
        "with_scikit_image:wavelet",
        "BSD-3-Clause",
        "BayesShrink, its estimate of sigma, YCbCr for colours; planes by themselves",
        checked=False,
    ),
    Peer(
        "scikit-image, total variation",
        *_SCIKIT_IMAGE,
        "with_scikit_image:total_variation",
        "BSD-3-Clause",
        "the weight that `calibrate_denoiser` chooses on the noisy image; planes by themselves",
        checked=False,
    ),
    Peer(
        "ndsafir",
        "ndsafir",
        ("ndsafir[cli]", "tifffile"),
        "with_ndsafir:denoise",
        "BSD-3-Clause",
        "nothing: it measures gain and offset, as its command does",
        files=True,
    ),
    Peer(
        "CAREamics, Noise2Void",
        "careamics",
        ("careamics",),
        "with_careamics:noise2void",
        "BSD-3-Clause",
        "training on the noisy image itself, on the CPU: patches of 64, batches of 16, 30 epochs (the default), "
        "at most 4 batches each; planes as samples",
        omit=("torchvision",),
    ),
    Peer(
        "DIPY, non-local means",
        "dipy",
        ("dipy",),
        "with_dipy:denoise",
        "BSD-3-Clause",
        "its estimate of sigma for one coil, the Rician model; volumes only",
        axes=("ZYX",),
        modalities=("mri",),
        checked=False,
    ),
    Peer(
        "cellpose, denoise_cyto3",
        "cellpose",
        ("cellpose<4", "torch"),
        "with_cellpose:denoise",
        "BSD-3-Clause",
        "the default diameter of 30 pixels",
    ),
    Peer("aydin", "aydin", ("aydin",), "with_aydin:denoise", "BSD-3-Clause", "", checked=False),
)
