"""Tests of the scripts for programs that are not installed here: what they ask of masked-denoiser exists."""

# ruff: noqa: N802, N803 - names of the gateway of OMERO

from __future__ import annotations

import re
import runpy
from types import SimpleNamespace

import numpy as np
import pytest

import masked_denoiser
from masked_denoiser.cli.main import build_parser
from masked_denoiser.evaluation.tile_error import tiny_model

from ..test_packaging import ROOT

FOLDER = ROOT / "integrations"


@pytest.mark.parametrize("name", ["qupath/denoise_image.groovy", "snakemake/Snakefile", "nextflow/main.nf"])
def test_options_exist(name):
    """Parse the options that the script gives to `masked-denoiser denoise`, each with a value if one follows."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith(("#", "//", "*")))
    options = re.findall(r"--[a-z][a-z-]+", code)
    assert "--resume" in options
    values = {"--threads": ["2"], "--select": ["Y=0:64,X=16:80"]}
    words = [word for option in options for word in (option, *values.get(option, []))]
    arguments = build_parser().parse_args(["denoise", "a.tif", "b.ome.tif", *words])
    assert arguments.resume
    assert arguments.quiet


class ServerImage:
    """Image of an OMERO server: the methods of the gateway that the script uses."""

    def __init__(self, pixels, parent):
        self._pixels, self.parent = pixels, parent

    def getSizeZ(self):
        return self._pixels.shape[0]

    def getSizeC(self):
        return self._pixels.shape[1]

    def getSizeT(self):
        return self._pixels.shape[2]

    def getName(self):
        return "cells"

    def getId(self):
        return 7

    def getParent(self):
        return self.parent

    def getPrimaryPixels(self):
        return self

    def getPlanes(self, positions):
        return (self._pixels[position] for position in positions)


class Gateway:
    """Gateway that puts the planes of a new image together in the order in which OMERO's gateway takes them."""

    def createImageFromNumpySeq(self, planes, name, sizeZ, sizeC, sizeT, description, dataset, sourceImageId):
        self.facts = (name, dataset, sourceImageId)
        stack = [[[next(planes) for _ in range(sizeT)] for _ in range(sizeC)] for _ in range(sizeZ)]
        assert next(planes, None) is None
        return np.array(stack)


@pytest.mark.parametrize(("kind", "linked"), [("Dataset", True), ("WellSample", False)])
def test_omero_script_keeps_order_of_planes(kind, linked):
    pixels = np.random.default_rng(1).integers(0, 4000, (2, 3, 2, 48, 56)).astype(np.uint16)
    gateway = Gateway()
    script = runpy.run_path(str(FOLDER / "omero" / "denoise_images.py"))
    options = {"model": tiny_model(channels=1), "noise": "none"}
    parent = SimpleNamespace(OMERO_CLASS=kind)
    result = script["denoise_image"](gateway, ServerImage(pixels, parent), options)
    assert gateway.facts == ("cells denoised", parent if linked else None, 7)
    assert np.array_equal(result, masked_denoiser.denoise(pixels, axes="ZCTYX", **options))
    assert not np.array_equal(result, pixels)
