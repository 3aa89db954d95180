"""Temporary files of files that are replaced: their own names, and none left behind."""

from __future__ import annotations

import os
import threading

import pytest

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.file import read_model
from masked_denoiser.models.reference import export_checkpoint, import_checkpoint


def test_other_files_of_the_folder_are_kept(tmp_path):
    others = ["m.partial", "m.safetensors.partial", ".m.safetensors.creating", "m.tmp", "m.new", "saving m.safetensors"]
    for name in others:
        (tmp_path / name).write_text("precious")
    tiny_model().save(tmp_path / "m.safetensors")
    export_checkpoint(tiny_model(), tmp_path / "m.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "m.safetensors", "m.pth"])
    assert {(tmp_path / name).read_text() for name in others} == {"precious"}
    assert read_model(tmp_path / "m.safetensors").digest == import_checkpoint(tmp_path / "m.pth").digest


@pytest.mark.parametrize("name", ["a.json", "ä" * 120])
def test_a_failed_block_leaves_the_file_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")

    def write_half():
        with replaced_atomically(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [other.name for other in tmp_path.iterdir()] == [name]
    assert path.read_text() == "old"


def test_simultaneous_writers_do_not_share_a_file(tmp_path):
    path, both = tmp_path / "a.txt", threading.Barrier(4)

    def write(letter):
        with replaced_atomically(path) as temporary, temporary.open("w") as file:
            both.wait(10)
            for _ in range(1000):
                file.write(letter)
                file.flush()

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in {letter * 1000 for letter in "abcd"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_are_those_of_new_files(tmp_path):
    (tmp_path / "plain").touch()
    with replaced_atomically(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode
