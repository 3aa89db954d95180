"""Removal of what identifies a patient from DICOM data sets, by the basic profile of DICOM PS3.15, annex E.

The profile's table (E.1-1, of dicom-anonymizer) says what happens to the elements that it names. It names few of those
whose text is free, and none of a future standard, so what it does not name stays only if its type of value cannot
identify anybody, or it is in a list of elements that describe pixels and equipment. Both hold in every item of every
sequence, since the functional groups of an enhanced image contain dates, comments and references.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag
from pydicom.uid import UID, generate_uid

from masked_denoiser.images.source import DECODER_ERRORS

Action = Callable[[pydicom.Dataset, BaseTag], None]

#: What pydicom raises for values that it cannot parse.
UNREADABLE = (*DECODER_ERRORS, OSError, BytesLengthException)
#: Types of values (DICOM PS3.5, 6.2) that name people, places, times and devices, or hold free text or any bytes.
_UNSAFE = {
    "AE", "AS", "DA", "DT", "LO", "LT", "OB", "OD", "OF", "OL", "OV", "OW", "PN", "SH", "ST", "TM", "UC", "UN", "UR",
    "UT",
}  # fmt: skip
#: Elements of those types that describe pixels, codes and equipment, and that the profile does not name.
_SAFE = {
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "LUTData", "ICCProfile", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData", "AlphaPaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "SegmentedAlphaPaletteColorLookupTableData", "RescaleType",
    "ModalityLUTType", "LUTLabel", "LUTExplanation", "StackID", "DisplayWindowLabelVector", "OpticalPathIdentifier",
    "ReferencedOpticalPathIdentifier", "CodeValue", "LongCodeValue", "CodeMeaning", "CodingSchemeDesignator",
    "CodingSchemeVersion", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel",
    "FilterType", "TypeOfFilters", "ImageFilter", "CollimatorGridName", "SequenceName", "PulseSequenceName",
    "ImagedNucleus", "ReceiveCoilName", "TransmitCoilName", "Radionuclide", "Radiopharmaceutical",
    "RadiopharmaceuticalRoute", "ContrastBolusRoute", "EnergyWindowName", "PVCRejection",
    "AttenuationCorrectionMethod", "ScatterCorrectionMethod", "ReconstructionMethod", "DetectorLinesOfResponseUsed",
    "TriggerSourceOrType", "CardiacFramingType",
}  # fmt: skip
#: Characters of the types of values that are text but not free (DICOM PS3.5, 6.2); a value with others may be any text.
_CHARACTERS = {
    "CS": b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_",
    "DS": b"0123456789+-.eE",
    "IS": b"0123456789+-",
}
#: Elements of the items of a sequence that refers to other images, series or studies.
_REFERENCES = ("ReferencedSOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
#: Sequences that say from what an image was derived, and refer to it further inside.
_DERIVATIONS = ("DerivationImageSequence", "ReferencedSeriesSequence")


def anonymize(dataset: pydicom.Dataset) -> None:
    """Remove or replace what identifies a patient, in all sequences; pixels are not searched for burned-in text.

    Identifiers are replaced by others computed from them, so that the images of a study stay together and equal inputs
    give equal data sets.

    Args:
        dataset: which is changed. Values that stay are not parsed, so that damaged ones raise no errors.
    """
    _clean(dataset)
    if not dataset.get("StudyInstanceUID"):
        dataset.add_new("StudyInstanceUID", "UI", _replacement(""))
    dataset.add_new("PatientIdentityRemoved", "CS", "YES")
    dataset.add_new("LongitudinalTemporalInformationModified", "CS", "REMOVED")
    dataset.add_new("DeidentificationMethod", "LO", "DICOM PS3.15 basic profile, by dicom-anonymizer")


def _clean(dataset: pydicom.Dataset) -> None:
    for tag in list(dataset.keys()):
        _action(dataset, tag)(dataset, tag)


def _action(dataset: pydicom.Dataset, tag: BaseTag) -> Action:
    """Return what to do with an element."""
    if not dictionary_has_tag(tag):  # private, overlays and curves (groups 60xx and 50xx), or of a future standard
        return _remove
    keyword, types = keyword_for_tag(tag), _types(dataset, tag)
    rule = _rules().get(tag)
    if "UI" in types and rule is not _remove:
        return _keep if keyword == "SOPClassUID" else _renew
    if rule:
        return rule
    if "SQ" in types:
        return _remove if keyword in _DERIVATIONS else _clean_items
    if types & _UNSAFE:
        return _keep if keyword in _SAFE else _remove
    value = dataset.get_item(tag).value
    return _remove if any(_has_others(value, _CHARACTERS[each]) for each in types & _CHARACTERS.keys()) else _keep


def _types(dataset: pydicom.Dataset, tag: BaseTag) -> set[str]:
    """Return the types of values of an element in the standard and, if it states one, in the file."""
    stated = dataset.get_item(tag).VR
    standard = set(dictionary_VR(tag).split(" or "))
    return standard if stated in (None, "UN") else standard | {stated}


def _has_others(value: Any, characters: bytes) -> bool:
    """Return whether the value of an element, as it is in the file, has others than these characters or separators."""
    return isinstance(value, bytes) and bool(value.strip(characters + b" \\\0"))


@cache
def _rules() -> dict[int, Action]:
    """Return the table of the profile, in the latest edition that dicom-anonymizer has, by tag."""
    from dicomanonymizer import dicom_anonymization_databases as editions
    from dicomanonymizer import simpledicomanonymizer as profile

    actions = {
        profile.empty: _empty,
        profile.delete_or_empty: _empty,
        profile.replace: _replace,
        profile.empty_or_replace: _replace,
        profile.delete_or_replace: _replace,
        profile.delete_or_empty_or_replace: _replace,
        profile.replace_UID: _renew,
    }
    edition = max(module.name for module in pkgutil.iter_modules(editions.__path__))
    table = profile.initialize_actions(edition)
    # Rules of 4 numbers are for groups of overlays and curves, which are removed anyway.
    return {(tag[0] << 16) | tag[1]: actions.get(rule, _remove) for tag, rule in table.items() if len(tag) == 2}


def _keep(dataset: pydicom.Dataset, tag: BaseTag) -> None:
    """Leave an element as it is."""


def _remove(dataset: pydicom.Dataset, tag: BaseTag) -> None:
    del dataset[tag]


def _empty(dataset: pydicom.Dataset, tag: BaseTag) -> None:
    """Remove the value of an element that the standard may require to be present."""
    vr = dictionary_VR(tag)
    dataset[tag] = DataElement(tag, vr, [] if vr == "SQ" else None)


def _replace(dataset: pydicom.Dataset, tag: BaseTag) -> None:
    """Replace the value of an element by a meaningless one; sequences, which no image needs, are removed."""
    from dicomanonymizer.simpledicomanonymizer import replace_element

    vr = dictionary_VR(tag)
    if vr == "SQ":
        _remove(dataset, tag)
        return
    dataset[tag] = DataElement(tag, vr, None)
    try:
        replace_element(dataset[tag])
    except NotImplementedError:  # for a type that no rule of the present editions has
        _remove(dataset, tag)


def _renew(dataset: pydicom.Dataset, tag: BaseTag) -> None:
    """Replace identifiers, except those that the standard defines, such as classes of images and coding schemes."""
    identifiers = _identifiers(dataset.get_item(tag))
    dataset[tag] = DataElement(tag, "UI", [i if _is_standard(i) else _replacement(i) for i in identifiers])


def _identifiers(element: DataElement | RawDataElement) -> list[str]:
    """Return the values of an element of identifiers, also of invalid ones."""
    value: Any = element.value or ""
    if isinstance(value, bytes):
        value = value.decode("latin1").strip("\0 ").split("\\")
    return [str(each) for each in ([value] if isinstance(value, str) else value) if str(each)]


def _is_standard(identifier: str) -> bool:
    return UID(identifier, pydicom.config.IGNORE).name != identifier  # it has a name in the standard


def _replacement(identifier: str) -> str:
    return generate_uid(entropy_srcs=["anonymous", identifier])


def _clean_items(dataset: pydicom.Dataset, tag: BaseTag) -> None:
    """Clean the items of a sequence, or remove it if it refers to other images or cannot be parsed."""
    try:
        items = dataset[tag].value
    except UNREADABLE:
        items = None
    if not isinstance(items, pydicom.Sequence) or any(name in item for item in items for name in _REFERENCES):
        _remove(dataset, tag)
        return
    for item in items:
        _clean(item)
