"""Sets of OME-TIFF: files whose OME-XML is in another file, and images whose planes are in several files.

See `BinaryOnly` in https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tifffile import TiffFile, TiffFileError, TiffPageSeries

from masked_denoiser.errors import ImageError
from masked_denoiser.images.locator import split_locator
from masked_denoiser.images.readers.tiff.calibration import parse_xml
from masked_denoiser.images.suffixes import suffix_of
from masked_denoiser.images.validation.ome_xml import MAX_XML_BYTES, check_file_name, check_no_doctype
from masked_denoiser.images.validation.size_limits import check_length
from masked_denoiser.images.validation.tiff import check_xml
from masked_denoiser.messages import clean_text

#: End of the name of a file of OME-XML without pixels.
COMPANION_SUFFIX = ".companion.ome"


def open_tiff(path: Path) -> TiffFile:
    """Open a TIFF; if its OME-XML only names another file, with the OME-XML of that file, if it is there.

    Args:
        path: of a TIFF, or of a file of OME-XML alone, which opens the first of its files that exists.

    Raises:
        ImageError: if the OME-XML is unsafe or broken, or none of its files exists.
        TiffFileError, OSError: if a file cannot be opened.
    """
    if is_companion(path):
        return _open_described(path)
    tif = TiffFile(path)
    try:
        check_xml(tif, path)
        other = metadata_file(tif)
        if other is None or not other.is_file():
            return tif
        root = _read_root(other)
        _set_uuid(root, parse_xml(tif.ome_metadata or "").get("UUID"))
    except BaseException:
        tif.close()
        raise
    tif.close()
    return _open_with(path, root)


def is_companion(path: Path) -> bool:
    """Return whether a file is OME-XML without pixels, by its name."""
    return path.name.lower().endswith(COMPANION_SUFFIX)


def metadata_file(tif: TiffFile) -> Path | None:
    """Return the file that the OME-XML in a TIFF names as the place of its metadata; None if it is itself.

    Raises:
        ValueError: if the OME-XML is broken.
    """
    page = tif.pages.first if len(tif.pages) else None
    named = parse_xml(page.description).find("{*}BinaryOnly") if page is not None and page.is_ome else None
    if named is None:
        return None
    return Path(tif.filehandle.path).parent / (named.get("MetadataFile") or "an unnamed file")


def missing_metadata_note(tif: TiffFile) -> str:
    """Return a note if the OME-XML in a TIFF only names a file that does not exist; "" otherwise."""
    other = metadata_file(tif)
    if other is None or other.is_file():
        return ""
    return (
        f"its axes and channels are described in {clean_text(other.name)}, which is not in its folder, so that its "
        "pages are one axis; copy that file into the folder"
    )


def further_files(tif: TiffFile, series: TiffPageSeries, path: Path) -> tuple[Path, ...]:
    """Return the files other than the one at `path` that the pixels and metadata of a series are in."""
    pages = (page for level in series.levels for page in level.pages if page is not None)
    files = {Path(page.parent.filehandle.path) for page in pages}
    described, own = metadata_file(tif), Path(tif.filehandle.path)
    if is_companion(path):
        return tuple(sorted(files))
    if described is not None and described.is_file():
        files.add(described)
    return tuple(sorted(files - {own}))


def omit_set_members(images: list[str]) -> list[str]:
    """Return images without the OME-TIFF files whose planes belong to images in other files of the list.

    Such a file continues an image that begins in another file, or is described by a file of OME-XML alone, which
    stands for all of its files.

    Args:
        images: paths of files, and names of images in files.
    """
    listed = {_path_of(image) for image in images}
    companions = {path for path in listed if is_companion(path)}
    return [image for image in images if not _belongs_to_another(_path_of(image), listed, companions)]


def _path_of(image: str) -> Path:
    return Path(split_locator(image)[0]).expanduser().absolute()


def _belongs_to_another(path: Path, listed: set[Path], companions: set[Path]) -> bool:
    if not suffix_of(path.name).lower().startswith(".ome.") or path.is_dir():
        return False
    try:
        with open_tiff(path) as tif:
            if metadata_file(tif) in companions:
                return True
            root = parse_xml(tif.ome_metadata or "<OME/>")
    except (ImageError, TiffFileError, OSError, ValueError):  # reported when it is opened
        return False
    sets = [files for image in root.iterfind("{*}Image") if path.name in (files := _files_of(image, root, path.name))]
    return bool(sets) and all(files[0] != path.name and path.parent / files[0] in listed for files in sets)


def _files_of(image: Element, root: Element, own: str) -> list[str]:
    """Return the names of the files with planes of an image, in the order of the planes.

    Args:
        image: the element.
        root: of the OME-XML.
        own: name of the file with the UUID of the root, or of planes without a file name.
    """
    names = []
    for data in image.iterfind("{*}Pixels/{*}TiffData"):
        uuid = data.find("{*}UUID")
        is_own = uuid is None or (root.get("UUID") is not None and uuid.text == root.get("UUID"))
        names.append(own if uuid is None or is_own else uuid.get("FileName", own))
    return names


def _open_described(path: Path) -> TiffFile:
    root = _read_root(path)
    names = [uuid.get("FileName", "") for uuid in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID")]
    for name in names:
        check_file_name(name, str(path))
    first = next((file for name in names if name and (file := path.parent / name).is_file()), None)
    if first is None:
        raise ImageError(f"{path}: none of the files that it describes is in its folder; copy them into it")
    return _open_with(first, root)


def _read_root(path: Path) -> Element:
    """Return the root of the OME-XML that is, or is in, a file.

    Raises:
        ImageError: if it is unsafe or broken, or there is none.
    """
    if is_companion(path) or path.suffix.lower() in (".xml", ".ome"):
        check_length(path.stat().st_size, MAX_XML_BYTES, "bytes of OME-XML", str(path))
        text = path.read_bytes().decode("utf-8", errors="replace")
    else:
        with TiffFile(path) as tif:
            text = tif.ome_metadata or ""
    check_no_doctype(text, str(path))
    try:
        return ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise ImageError(f"{path}: its OME-XML is broken ({str(error)[:100]}); copy or export it again") from error


def _set_uuid(root: Element, uuid: str | None) -> None:
    """Give OME-XML the UUID of the file that is opened with it, by which tifffile finds the planes in that file."""
    root.attrib.pop("UUID", None)
    if uuid is not None:
        root.set("UUID", uuid)


def _open_with(path: Path, root: Element) -> TiffFile:
    tif = TiffFile(path, omexml=ElementTree.tostring(root, encoding="unicode"))
    try:
        check_xml(tif, path)
    except BaseException:
        tif.close()
        raise
    return tif
