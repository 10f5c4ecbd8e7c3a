"""The manifest of weights: found, read, and believed only when the bytes agree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rtau.errors import RtauError
from rtau.store import find_weights, read_manifest, sha256_of, weights_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A manifest of two files, as the shipped one looks."""
    entries = {}
    for name in ("au", "landmarks"):
        data = name.encode() * 1000
        (tmp_path / f"{name}.safetensors").write_bytes(data)
        entries[name] = {"file": f"{name}.safetensors", "sha256": hashlib.sha256(data).hexdigest(), "aus": [1, 12]}
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    return tmp_path


def test_reads_what_the_manifest_says(folder: Path) -> None:
    entries = read_manifest(folder)
    assert list(entries) == ["au", "landmarks"]
    assert entries["au"].path == folder / "au.safetensors"
    assert entries["au"].facts["aus"] == [1, 12]
    assert find_weights("landmarks", folder).check() == folder / "landmarks.safetensors"


def test_a_changed_byte_is_refused(folder: Path) -> None:
    path = folder / "au.safetensors"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(RtauError, match="au.safetensors are damaged"):
        find_weights("au", folder)
    assert find_weights("landmarks", folder).name == "landmarks"


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "au.safetensors").unlink()
    with pytest.raises(RtauError, match="au.safetensors are missing"):
        find_weights("au", folder)


def test_an_unknown_name_lists_the_known(folder: Path) -> None:
    with pytest.raises(RtauError, match="'gaze'.*au, landmarks"):
        find_weights("gaze", folder)


@pytest.mark.parametrize("text", ["", "[]", "{\"au\": {}}", "{\"au\": 3}", "not json", "\x00"])
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RtauError) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value) and "manifest.json" in str(caught.value)


def test_no_manifest_at_all(tmp_path: Path) -> None:
    with pytest.raises(RtauError, match="no manifest.json"):
        read_manifest(tmp_path)


def test_the_shipped_weights_are_what_the_manifest_says() -> None:
    entries = read_manifest()
    assert {"au", "landmarks"} <= set(entries)
    for entry in entries.values():
        assert entry.check().parent == weights_folder()
        assert entry.facts["recipe"], f"{entry.name} names no recipe"


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256_of(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
