"""What the columns of a table are called and hold: rtau's own, and those of OpenFace, py-feat and LibreFace.

A column of another tool is told from one of rtau's by a factor and a sum, so that one table serves for writing and for
reading. docs/columns.md says where the layouts have gaps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..au import Label, look_up

#: Other tools whose layouts are known, and what people call them.
TOOLS = {"openface": "OpenFace", "feat": "py-feat", "libreface": "LibreFace"}

#: Groups of columns that are written when asked for, and what they hold.
COLUMN_GROUPS: dict[str, str] = {
    "landmarks": "x_0..x_67, y_0..y_67: the 68 points in pixels",
    "raw": "AU01_r_raw.., AU01_p_raw..: intensity and probability before smoothing",
    "quality": "quality: how good the picture of the face is, 0..1",
}

#: Numbers of the AUs that each tool writes: intensity and yes or no; py-feat writes one probability each.
_OPENFACE_R = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
_OPENFACE_C = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)
_FEAT = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
_LIBREFACE_C = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
_LIBREFACE_R = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)

_DEGREES = 180 / math.pi

#: rtau's columns of AUs.
AU_COLUMN = re.compile(r"AU(\d\d)_([rcp])")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: as the header has it.
        form: how a value is written: a printf format, where "%d" and "%.0f" are whole numbers (the latter may be
            lacking); or `file`, the name of a picture or video; or one of `TEXTS`.
        source: rtau's column that the values come from; "" where rtau has none, which makes them NaN.
        factor, add: value = source * factor + add.
    """

    name: str
    form: str
    source: str
    factor: float = 1.0
    add: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return self.form in ("%d", "%.0f")

    @property
    def text(self) -> bool:
        """Whether the values are no numbers."""
        return not self.form.startswith("%")

    @property
    def places(self) -> int:
        """Digits behind the point; 0 for text."""
        found = re.fullmatch(r"%\.(\d+)f", self.form)
        return int(found[1]) if found else 0


def _person(value: float) -> str | None:
    return f"Person_{value:.0f}" if value >= 0 else None


def _clock(value: float) -> str | None:
    return f"{int(value) // 60:02d}:{int(value) % 60:02d}" if value >= 0 else None


#: Numbers that are written as text; None where there is nothing to say.
TEXTS: dict[str, Callable[[float], str | None]] = {"person": _person, "clock": _clock}


@dataclass(frozen=True)
class Layout:
    """The columns of a table, in order.

    Attributes:
        tool: "rtau", or one of `TOOLS`.
        columns: what is written.
        blank: what a CSV has where nothing can be said.
    """

    tool: str
    columns: tuple[Column, ...]
    blank: str = "NaN"

    @property
    def names(self) -> list[str]:
        """The header."""
        return [column.name for column in self.columns]

    def taker(self, names: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
        """What makes float64 [n, columns] of this layout from [n, names] of rtau's columns; NaN where rtau has none."""
        place = {name: i for i, name in enumerate(names)}
        at = np.array([place.get(column.source, -1) for column in self.columns])
        absent = at < 0
        if not absent.any() and all((column.factor, column.add) == (1, 0) for column in self.columns):
            return lambda values: values[:, at]
        factor = np.array([column.factor for column in self.columns])
        add = np.array([column.add for column in self.columns])

        moved = np.flatnonzero(add)

        def take(values: np.ndarray) -> np.ndarray:
            taken = values[:, at] * factor
            # Not all: -0 plus 0 has another sign.
            taken[:, moved] += add[moved]
            taken[:, absent] = np.nan
            return taken

        return take


def au_column(au: Label, kind: str) -> str:
    """rtau's name for the intensity "r", yes or no "c", or probability "p" of an AU or another attribute."""
    return f"{look_up(au).code}_{kind}"


def au_columns(aus: Iterable[Label], kind: str) -> list[str]:
    """rtau's names for the columns of a kind: attributes have no intensity."""
    return [au_column(au, kind) for au in aus if kind != "r" or not isinstance(au, str)]


def labels_in(names: Iterable[str], kinds: str = "cp") -> tuple[Label, ...]:
    """What a table with columns of these names tells of: numbers of AUs, in order, then attributes.

    Args:
        names: rtau's.
        kinds: of which an attribute has all, so that other columns are not taken for one.
    """
    names = list(dict.fromkeys(names))
    aus = sorted({int(found[1]) for name in names if (found := AU_COLUMN.fullmatch(name))})
    stems = [name[:-2] for name in names if name.endswith(f"_{kinds[0]}") and len(name) > 2]
    attributes = [stem for stem in stems if not re.fullmatch(r"AU\d\d", stem)
                  and all(f"{stem}_{kind}" in names for kind in kinds)]
    return (*aus, *attributes)


def _same(names: Iterable[str], form: str) -> list[Column]:
    return [Column(name, form, name) for name in names]


_INPUT = Column("input", "file", "input")
_BASE = (*_same(("frame", "face_id"), "%d"), *_same(("timestamp",), "%.6f"), *_same(("confidence",), "%.3f"),
         *_same(("success",), "%d"), *_same(("box_x", "box_y", "box_w", "box_h"), "%.2f"),
         *_same(("pose_Rx", "pose_Ry", "pose_Rz"), "%.4f"))
#: Names of the 68 points, x first.
POINTS = tuple(f"{axis}_{i}" for axis in "xy" for i in range(68))
#: How an AU's intensity, yes or no, and probability are written.
_AU_FORMS = {"r": "%.3f", "c": "%.0f", "p": "%.4f"}


def rtau_layout(aus: Sequence[Label], groups: Iterable[str] = (), *, with_input: bool = False) -> Layout:
    """rtau's own: `input` if asked for, the base columns, the AUs, then the chosen groups of `COLUMN_GROUPS`."""
    columns = [*([_INPUT] if with_input else []), *_BASE]
    columns += [column for kind, form in _AU_FORMS.items() for column in _same(au_columns(aus, kind), form)]
    if "landmarks" in groups:
        columns += _same(POINTS, "%.2f")
    if "raw" in groups:
        columns += [column for kind in "rp"
                    for column in _same((f"{name}_raw" for name in au_columns(aus, kind)), _AU_FORMS[kind])]
    if "quality" in groups:
        columns += _same(("quality",), "%.3f")
    return Layout("rtau", tuple(columns))


def layout_like(tool: str, *, points: bool = True, with_input: bool = False) -> Layout:
    """The layout of another tool.

    A group of columns that rtau knows nothing of is left out, as the tool itself does when told so; of a group that
    rtau knows in part, the rest is there and NaN.

    Args:
        tool: one of `TOOLS`.
        points: whether there are 68 points to write.
        with_input: put `input` first where the layout has no such column.
    """
    columns = {"openface": _openface, "feat": _feat, "libreface": _libreface}[tool](points)
    if with_input and _INPUT not in columns:
        columns.insert(0, _INPUT)
    return Layout(tool, tuple(columns), "NaN" if tool == "openface" else "")


def _openface(points: bool) -> list[Column]:
    """FeatureExtraction of OpenFace 2.2 with -pose -2Dfp -aus; it counts frames from 1, and a turn to image left is
    positive."""
    return [Column("frame", "%d", "frame", add=1), *_same(("face_id",), "%d"), *_same(("timestamp",), "%.3f"),
            *_same(("confidence",), "%.2f"), *_same(("success",), "%d"),
            *(Column(f"pose_T{axis}", "%.1f", "") for axis in "xyz"), *_same(("pose_Rx",), "%.3f"),
            Column("pose_Ry", "%.3f", "pose_Ry", factor=-1), *_same(("pose_Rz",), "%.3f"),
            *(_same(POINTS, "%.1f") if points else []), *_same((au_column(au, "r") for au in _OPENFACE_R), "%.2f"),
            *_same((au_column(au, "c") for au in _OPENFACE_C), "%.1f")]


def _feat(points: bool) -> list[Column]:
    """What py-feat's Fex writes, without emotions and embeddings. `timestamp` at the end is rtau's own, since
    approx_time has whole seconds only."""
    return [*(Column(f"FaceRect{name}", "%.2f", f"box_{source}")
              for name, source in (("X", "x"), ("Y", "y"), ("Width", "w"), ("Height", "h"))),
            Column("FaceScore", "%.3f", "confidence"), *(_same(POINTS, "%.2f") if points else []),
            *(Column(name, "%.3f", f"pose_R{axis}", factor=_DEGREES)
              for name, axis in (("Pitch", "x"), ("Roll", "z"), ("Yaw", "y"))),
            *(Column(f"AU{au:02d}", "%.4f", au_column(au, "p")) for au in _FEAT), _INPUT, *_same(("frame",), "%d"),
            Column("approx_time", "clock", "timestamp"), Column("Identity", "person", "face_id"),
            *_same(("timestamp",), "%.6f")]


def _libreface(points: bool) -> list[Column]:
    """LibreFace's CSV of a video, without MediaPipe's points and the expression. `face_id` at the end is rtau's own,
    since LibreFace knows one face."""
    return [Column("frame_idx", "%d", "frame"), Column("frame_time_in_ms", "%.3f", "timestamp", factor=1000),
            Column("pitch", "%.3f", "pose_Rx", factor=-_DEGREES), Column("yaw", "%.3f", "pose_Ry", factor=_DEGREES),
            Column("roll", "%.3f", "pose_Rz", factor=_DEGREES),
            *(Column(f"au_{au}", "%.0f", au_column(au, "c")) for au in _LIBREFACE_C),
            *(Column(f"au_{au}_intensity", "%.3f", au_column(au, "r")) for au in _LIBREFACE_R),
            *_same(("face_id",), "%d")]


def short_list(names: Iterable[str]) -> str:
    """Names for people: many that differ in a number alone are told together, such as x_0..x_67 (68)."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+", "#", name), []).append(name)
    return ", ".join(map(_together, groups.values()))


def _together(group: list[str]) -> str:
    if len(group) > 2 and re.fullmatch(r"AU\d\d_\w+", group[0]) and len(group) <= 15:
        return f"AU.._{group[0][5:]} of {', '.join(str(int(name[2:4])) for name in group)}"
    return ", ".join(group) if len(group) < 5 else f"{group[0]}..{group[-1]} ({len(group)})"
