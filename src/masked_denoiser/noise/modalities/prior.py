"""What a modality says about noise before it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: Kind of an image by the physics of its noise; "other" for microscopy, photographs and everything else.
Modality = Literal["other", "ct", "mri", "ultrasound", "oct", "xray", "em"]

#: Modality as a user asks for it; "auto" is that of the file, or else what the noise shows.
RequestedModality = Literal["auto", Modality]

#: How the variance of noise depends on intensity, if that is known: not at all, or as photon noise.
Growth = Literal["any", "constant", "linear"]

#: Why neighbouring pixels share noise, if that is known: by the kernel of a tomographic reconstruction, whose noise is
#: normal, but has streaks and is stronger where fewer rays cross; or by the point spread function, as speckle, which is
#: not normal.
SharedBy = Literal["unknown", "kernel", "speckle"]

#: Modality by the abbreviation of DICOM (PS3.3, C.7.3.1.1.1, defined terms).
_DICOM_MODALITIES: Mapping[str, Modality] = {
    "MR DERIVED": "other",
    "CT": "ct",
    "MR": "mri",
    "US": "ultrasound",
    "IVUS": "ultrasound",
    "OPT": "oct",
    "OCT": "oct",
    "IVOCT": "oct",
    "CR": "xray",
    "DX": "xray",
    "MG": "xray",
    "IO": "xray",
    "PX": "xray",
    "RF": "xray",
    "RG": "xray",
    "XA": "xray",
}


@dataclass(frozen=True)
class NoisePrior:
    """What is known of noise before it is measured.

    Attributes:
        growth: how its variance depends on intensity.
        shared_by: why neighbouring pixels share noise, which decides what apparently correlated noise may look like.
        by_place: whether it is stronger in some places than in others of the same intensity.
        black: the unit of intensity zero if the image has no negative intensities, else 0; speckle may vanish there.
    """

    growth: Growth = "any"
    shared_by: SharedBy = "unknown"
    by_place: bool = False
    black: float = 0.0


#: Nothing is known.
NO_PRIOR = NoisePrior()

_PRIORS: Mapping[Modality, NoisePrior] = {
    "ct": NoisePrior(shared_by="kernel", by_place=True),
    "mri": NoisePrior(growth="constant"),  # after stabilization
    "ultrasound": NoisePrior(shared_by="speckle"),
    "oct": NoisePrior(shared_by="speckle"),
    "xray": NoisePrior(growth="linear"),
    "em": NoisePrior(growth="linear"),
}


def prior_of(modality: Modality) -> NoisePrior:
    """Return what a modality says about noise; nothing for "other"."""
    return _PRIORS.get(modality, NO_PRIOR)


def modality_of_dicom(abbreviation: str) -> Modality | None:
    """Return the modality that DICOM abbreviates like this; None for "" and for kinds without a known noise."""
    return _DICOM_MODALITIES.get(abbreviation.strip().upper())
