"""The manifest of weights: found, read, and believed only when the bytes agree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rtau.errors import InputError, RtauError
from rtau.store import find_weights, open_weights, read_manifest, sha256_of, weights_folder


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


def test_a_file_of_ones_own_is_opened_by_the_manifest_beside_it(folder: Path) -> None:
    assert open_weights(folder / "landmarks.safetensors").name == "landmarks"
    (folder / "other.safetensors").write_bytes(b"")
    (folder / "au.onnx").write_bytes(b"")
    (folder / "au.safetensors").write_bytes(b"changed")
    for name, line in (("none.safetensors", "there is no weights file"), ("other.safetensors", "does not name other"),
                       ("au.onnx", "is no weights file: give a .safetensors file")):
        with pytest.raises(InputError, match=line):
            open_weights(folder / name)
    with pytest.raises(RtauError, match="au.safetensors are damaged"):
        open_weights(folder / "au.safetensors")
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="has no manifest.json beside it"):
        open_weights(folder / "landmarks.safetensors")


def test_columns_are_those_of_the_aus_among_the_labels(folder: Path) -> None:
    weights = find_weights("au", folder)  # without names, as older manifests are
    assert weights.labels == ("AU01", "AU12") and weights.columns == {1: 0, 12: 1}
    entries = json.loads((folder / "manifest.json").read_text())
    entries["au"]["config"] = {"names": ["Smiling", "AU12", "AUDIBLE", "AU04"]}
    (folder / "manifest.json").write_text(json.dumps(entries))
    assert find_weights("au", folder).columns == {12: 1, 4: 3}


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256_of(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
