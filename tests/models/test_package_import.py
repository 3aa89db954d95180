"""Import of packages of bioimage.io: hostile archives, and those of other programs."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile

import pytest

from masked_denoiser.cli.main import main
from masked_denoiser.errors import ModelError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.package_import import ATTACHED_MODEL, read_package

OTHER = """
name: Nuclei
weights:
  keras_hdf5: {source: weights.h5}
  pytorch_state_dict: {source: weights.pt}
"""

#: Description whose name is a list of lists, by aliases: with a few more of them its text would fill the memory.
NESTED = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 16)), "name: *a15"])


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    tiny_model().save(tmp_path / "tiny.safetensors")
    return (tmp_path / "tiny.safetensors").read_bytes()


def package(path: Path, files: dict[str, bytes | str], compression: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_nothing_but_the_attached_model_is_read(tmp_path: Path, weights: bytes) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    hostile = {"../escaped.py": "raise SystemExit", "/absolute": "", "rdf.yaml": "!!python/object/apply:os.abort []"}
    model = read_package(package(inner / "a.zip", hostile | {ATTACHED_MODEL: weights}))
    assert model.digest == tiny_model().digest
    assert [path.name for path in inner.iterdir()] == ["a.zip"]
    assert not (tmp_path / "escaped.py").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"rdf.yaml": OTHER}, r"the model 'Nuclei' of another program \(weights: keras_hdf5, pytorch_state_dict\)"),
        ({"bioimageio.yaml": OTHER}, r"of another program .*masked-denoiser models export"),
        ({"other.txt": ""}, "is no package of bioimage.io: it has neither bioimageio.yaml nor rdf.yaml"),
        ({"rdf.yaml": f"{NESTED}\nweights:\n  1: a\n  b: c"}, r"has the model of another program \(weights: b\)"),
        ({"rdf.yaml": "!!python/object/apply:os.abort []"}, "its description is not YAML"),
        ({"rdf.yaml": "[" * 100_000}, r"not YAML|declares"),
        ({"rdf.yaml": "- a"}, "its description is not a list of names and values"),
        ({"rdf.yaml": "a" * (2**20 + 1)}, "declares 1048577 bytes in .*; it is not opened for safety"),
        ({ATTACHED_MODEL: bytes(2**20)}, "declares 1048576 bytes in 1.*; it is not opened for safety"),
        ({ATTACHED_MODEL: b"no tensors"}, "cannot be read as a model"),
        ({str(number): "" for number in range(1001)}, "has 1001 files; packages of bioimage.io have at most 1000"),
    ],
)
def test_other_packages_are_refused(tmp_path: Path, files: dict[str, bytes | str], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_package(package(tmp_path / "a.zip", files))


def test_archives_that_programs_read_differently_are_refused(tmp_path: Path, weights: bytes) -> None:
    with pytest.raises(ModelError, match="compressed in an unusual way"):
        read_package(package(tmp_path / "a.zip", {ATTACHED_MODEL: weights}, ZIP_LZMA))
    path = package(tmp_path / "b.zip", {ATTACHED_MODEL: weights})
    with ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(ATTACHED_MODEL, b"")
    with pytest.raises(ModelError, match="two files of one name"):
        read_package(path)


def test_understated_size_is_noticed(tmp_path: Path, weights: bytes) -> None:
    path = package(tmp_path / "a.zip", {ATTACHED_MODEL: weights})
    size = len(weights).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (len(weights) - 9).to_bytes(4, "little")))
    with pytest.raises(ModelError):
        read_package(path)


def with_invalid_name(data: bytes) -> bytes:
    """Return a package whose central directory has a name that claims to be UTF-8 and is not."""
    entry = data.index(b"PK\x01\x02")
    broken = bytearray(data)
    broken[entry + 9] |= 0x08  # the flag of UTF-8
    broken[entry + 46] = 0xFF
    return bytes(broken)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-30], lambda data: b"", lambda data: data[:300] + bytes(999), with_invalid_name],
)
def test_damaged_packages_are_refused(tmp_path: Path, weights: bytes, damage) -> None:  # type: ignore[no-untyped-def]
    path = package(tmp_path / "a.zip", {ATTACHED_MODEL: weights})
    path.write_bytes(damage(path.read_bytes()))
    assert main(["models", "import", str(path), "--output", str(tmp_path / "b.safetensors")]) == 1
    with pytest.raises(ModelError, match="cannot be read as a package"):
        read_package(path)
