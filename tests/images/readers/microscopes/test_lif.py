"""LIF files of the minimal writer: padded rows, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image

from ..samples.lif import write_lif

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)


def test_padded_rows_of_colour_images_are_cropped(tmp_path):
    """Rows begin at multiples of 4 bytes: here 33 pixels of 3 bytes are stored for 30."""
    stored = np.zeros((20, 33, 3), np.uint8)
    stored[:, :30] = PIXELS
    path = write_lif(tmp_path / "a.lif", {"a": ("YXS", stored)})
    text = 'DimID="1" NumberOfElements="33"'
    content = path.read_bytes().replace(text.encode("utf-16-le"), text.replace("33", "30").encode("utf-16-le"))
    path.write_bytes(content)
    with open_image(path) as source:
        assert source.rgb
        np.testing.assert_array_equal(source.data[3:9, 4:, 1:], PIXELS[3:9, 4:, ::-1][..., 1:])


def _with_xml(path, change):
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 9)
    xml = change(content[13 : 13 + 2 * length].decode("utf-16-le"))
    text = xml.encode("utf-16-le")
    path.write_bytes(struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(xml)) + text + content[13 + 2 * length :])
    return path


def test_references_to_other_files_are_refused(tmp_path):
    path = write_lif(tmp_path / "a.lif", {"a": ("YX", PIXELS[..., 0].copy())})
    reference = '<Reference File="../secret.lif"/></Children></Element></LMSDataContainerHeader>'
    _with_xml(path, lambda xml: xml.replace("</Children></Element></LMSDataContainerHeader>", reference))
    with pytest.raises(ImageError, match="refers to other files"):
        open_image(path)


def test_entities_are_refused(tmp_path):
    path = write_lif(tmp_path / "a.lif", {"a": ("YX", PIXELS[..., 0].copy())})
    _with_xml(path, lambda xml: '<!DOCTYPE x [<!ENTITY a "b">]>' + xml)
    with pytest.raises(ImageError, match="declares entities"):
        open_image(path)
