"""What is counted for a report: exact numbers of hand-made tables."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rtau.cli import main
from rtau.errors import InputError
from rtau.report.curves import NONE, draw_curves, share_bins
from rtau.report.events import close_gaps, find_events, find_runs, seen_spans, unjudged_spans
from rtau.report.exports import EVENT_COLUMNS, SUMMARY_COLUMNS
from rtau.report.statistics import all_faces, cooccurrence, describe_face
from rtau.report.table import Table, read_table

NAN = float("nan")
HEAD = "frame,face_id,timestamp,confidence,success,box_x,box_y,box_w,box_h,pose_Rx,pose_Ry,pose_Rz"


def make_table(path: Path, rows: list[tuple], aus: tuple[int, ...] = (12,), *, before: str = "") -> Path:
    """Write rows (frame, face, time, then intensity and presence of each AU); face -1 is a frame without one."""
    names = [f"AU{au:02d}_{kind}" for kind in "rcp" for au in aus]
    lines = [",".join([*([before] if before else []), HEAD, *names])]
    for frame, face, time, *values in rows:
        name = [values.pop(0)] if before else []
        seen = face >= 0
        level, present = values[0::2] or [NAN] * len(aus), values[1::2] or [NAN] * len(aus)
        numbers = [frame, face, time, 0.9 if seen else 0, int(seen),
                   *([10, 20, 30, 40, 0, 0, 0] if seen else [NAN] * 7), *level, *present,
                   *(NAN if math.isnan(p) else 0.5 for p in present)]
        lines.append(",".join([*name, *("NaN" if math.isnan(v) else f"{v:.10g}" for v in numbers)]))
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def bumpy(tmp_path: Path) -> Table:
    """One AU of a face in a video of variable rate: two events, then it can't be judged, then the face is gone."""
    return read_table(make_table(tmp_path / "a.csv", [
        (0, 3, 0.0, 0.5, 0), (1, 3, 0.1, 1.5, 1), (2, 3, 0.3, 2.5, 1), (3, 3, 0.4, 0.5, 0), (4, 3, 0.5, 2.0, 1),
        (5, 3, 0.6, NAN, NAN), (6, 3, 0.8, 3.0, 1), (7, -1, 0.9), (8, 3, 1.0, 4.0, 1)]))


def test_events_have_the_times_of_the_table(bumpy: Table) -> None:
    events = find_events(bumpy, bumpy.faces[0], 0)
    assert events.onset.tolist() == [0.1, 0.5, 0.8, 1.0]
    assert events.apex.tolist() == [0.3, 0.5, 0.8, 1.0]
    # The last frame stands for as long as frames usually do.
    assert events.offset.tolist() == pytest.approx([0.4, 0.6, 0.9, 1.1])
    assert events.level.tolist() == pytest.approx([2.5, 2.0, 3.0, 4.0])
    assert events.row.tolist() == [2, 4, 6, 7]


def test_what_was_not_seen_of_an_event_is_told(bumpy: Table) -> None:
    events = find_events(bumpy, bumpy.faces[0], 0)
    assert events.begun.tolist() == [True, True, False, False]
    assert events.ended.tolist() == [True, False, False, False]


def test_numbers_are_by_time_and_leave_out_what_cannot_be_judged(bumpy: Table) -> None:
    found = describe_face(bumpy, bumpy.faces[0])
    one = found.aus[0]
    assert found.seen == pytest.approx(1.0) and (one.frames, one.frames_present, one.events) == (7, 5, 4)
    assert one.judged == pytest.approx(0.8) and one.present == pytest.approx(0.6) and one.share == pytest.approx(0.75)
    on = 1.5 * 0.2 + 2.5 * 0.1 + 2.0 * 0.1 + 3.0 * 0.1 + 4.0 * 0.1
    assert one.mean == pytest.approx((0.5 * 0.1 + on + 0.5 * 0.1) / 0.8)
    assert one.mean_present == pytest.approx(on / 0.6)
    assert (one.peak, one.peak_row) == (4.0, 7) and one.rate == pytest.approx(4 * 60 / 0.8)
    assert one.event_mean == pytest.approx((0.3 + 0.1 + 0.1 + 0.1) / 4) and one.event_longest == pytest.approx(0.3)


def test_spans(bumpy: Table) -> None:
    face = bumpy.faces[0]
    assert seen_spans(bumpy, face) == pytest.approx(np.array([[0, 0.9], [1.0, 1.1]]))
    assert unjudged_spans(bumpy, face, 0) == pytest.approx(np.array([[0.6, 0.8]]))


def test_a_pause_in_the_recording_ends_an_event_and_counts_nowhere(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 5.0, 5.1]
    table = read_table(make_table(tmp_path / "a.csv", [(i, 0, t, 1, 1) for i, t in enumerate(times)]))
    events = find_events(table, table.faces[0], 0)
    assert events.onset.tolist() == [0, 5.0] and events.offset.tolist() == pytest.approx([0.7, 5.2])
    assert not events.ended.any() and table.recorded == pytest.approx(0.2 + 0.5 + 0.2)
    assert table.gaps.tolist() == [False, False, True, False, True]


def test_slow_frames_are_no_pauses(tmp_path: Path) -> None:
    table = read_table(make_table(tmp_path / "a.csv", [(i, 0, 2.0 * i, 1, 1) for i in range(5)]))
    assert len(find_events(table, table.faces[0], 0)) == 1 and table.recorded == 10


def test_an_au_that_is_never_judged_is_nan_not_0(tmp_path: Path) -> None:
    table = read_table(make_table(tmp_path / "a.csv", [(i, 0, i / 10, 1, 0, NAN, NAN) for i in range(5)], (6, 12)))
    six, twelve = describe_face(table, table.faces[0]).aus
    assert (six.share, six.mean, six.peak) == (0, 1, 1) and np.isnan(six.mean_present) and np.isnan(six.event_mean)
    assert twelve.frames == twelve.judged == twelve.events == 0
    assert np.isnan([twelve.share, twelve.mean, twelve.peak, twelve.rate]).all()


def test_two_faces_are_told_apart_and_share_the_frames(tmp_path: Path) -> None:
    table = read_table(make_table(tmp_path / "a.csv", [
        (0, 5, 0.0, 1, 1), (0, 2, 0.0, 0, 0), (1, 5, 0.1, 1, 1), (2, 5, 0.2, 1, 1), (2, 2, 0.2, 3, 1)]))
    assert [face.face for face in table.faces] == [5, 2] and len(table.times) == 3
    assert [len(describe_face(table, face).events[0]) for face in table.faces] == [1, 1]
    # Face 2 was away in between: its event may have begun earlier.
    assert find_events(table, table.faces[1], 0).begun.tolist() == [False]
    assert describe_face(table, table.faces[1]).seen == pytest.approx(0.2)


def test_a_network_of_presence_alone_is_described_by_its_probability(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    make_table(path, [(0, 0, 0.0, NAN, 1), (1, 0, 0.1, NAN, 0)])
    table = read_table(path)
    assert not table.graded and table.faces[0].present.ravel().tolist() == [1, 0]
    assert describe_face(table, table.faces[0]).aus[0].mean == 0.5


def test_stills_are_counted_and_have_no_events(tmp_path: Path) -> None:
    table = read_table(make_table(tmp_path / "a.csv", [
        (0, 0, 0, "a.jpg", 2, 1), (0, 1, 0, "a.jpg", 0, 0), (1, -1, 0, "b.jpg"), (2, 2, 0, '"c,d\n.jpg"', 4, 1)],
        before="input"))
    assert table.still and table.inputs == ("a.jpg", "b.jpg", "c,d\n.jpg") and table.frames.tolist() == [0, 1, 2]
    whole = describe_face(table, all_faces(table))
    one = whole.aus[0]
    assert (one.frames, one.frames_present, one.events, one.mean, one.peak) == (3, 2, 0, 2, 4) and np.isnan(one.rate)
    assert one.share == pytest.approx(2 / 3)


def test_cooccurrence() -> None:
    # Seconds 1, 2, 3, 4, 10: both, only a, only b, none, b unknown.
    present = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, -1]], np.int8)
    pairs = cooccurrence(present, np.array([1.0, 2, 3, 4, 10]))
    assert pairs.judged.tolist() == [[20, 10], [10, 10]]
    assert pairs.both[0, 1] == pytest.approx(0.1) and pairs.both[0, 0] == pytest.approx(13 / 20)
    assert pairs.jaccard[0, 1] == pytest.approx(1 / 6) and pairs.jaccard[1, 1] == 1
    # n = 10, a 3, b 4, both 1.
    assert pairs.phi[0, 1] == pytest.approx((10 * 1 - 3 * 4) / np.sqrt(3 * 7 * 4 * 6))
    assert (pairs.phi == pairs.phi.T).all() and pairs.phi[0, 0] == pytest.approx(1)


def test_cooccurrence_of_what_never_changes_is_unknown() -> None:
    pairs = cooccurrence(np.array([[1, 0, 0], [1, 0, -1]], np.int8), np.array([0.04, 0.1]))
    assert np.isnan(pairs.phi[0, 1]) and np.isnan(pairs.jaccard[1, 2]) and pairs.jaccard[0, 1] == 0
    none = cooccurrence(np.zeros((0, 2), np.int8), np.zeros(0))
    assert np.isnan(none.both).all() and not none.judged.any()


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_runs_are_those_of_a_loop(rows: list[tuple[bool, bool]]) -> None:
    expected, open_run = [], None
    for i, (on, joined) in enumerate(rows):
        if open_run is not None and not (on and joined):
            expected.append((open_run, i - 1))
            open_run = None
        if on and open_run is None:
            open_run = i
    if open_run is not None:
        expected.append((open_run, len(rows) - 1))
    first, last = find_runs(np.array([r[0] for r in rows], bool), np.array([r[1] for r in rows], bool))
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == expected


def test_close_gaps() -> None:
    spans = np.array([[0, 1], [1.1, 2], [3, 4], [4.05, 5]])
    assert close_gaps(spans, 0.5).tolist() == [[0, 2], [3, 5]]
    assert close_gaps(spans[:0], 1).shape == (0, 2) and close_gaps(spans, 0).tolist() == spans.tolist()


def test_binned_curves_keep_peaks_and_holes(tmp_path: Path) -> None:
    rows = [(i, 0, i / 10, 4.5 if i == 517 else 1.0, int(i == 517)) if not 600 <= i < 700 else (i, 0, i / 10, NAN, NAN)
            for i in range(1000)]
    table = read_table(make_table(tmp_path / "a.csv", rows))
    curves = draw_curves(table, table.faces[0], 50)
    assert curves.high.shape == (2, 50) and curves.bin == pytest.approx(99.9 / 50)
    top = int(np.argmax(np.where(curves.high[0] == NONE, 0, curves.high[0])))
    assert curves.high[0, top] == 4500 and curves.low[0, top] == 1000
    assert abs(curves.times[top] - 51.7) <= curves.bin / 2
    assert (curves.high[0] == NONE).sum() in (4, 5) and (curves.high[1] == 900).all() and curves.breaks.tolist() == [0]
    every = draw_curves(table, table.faces[0], None)
    assert every.bin == 0 and every.low is every.high and every.times.tolist() == table.times.tolist()


def test_bins_are_shared_by_how_much_is_seen() -> None:
    assert share_bins([10_000, 14_000]) == [None, None]
    assert share_bins([216_000]) == [12_000] and share_bins([200_000, 200_000, 10]) == [5999, 5999, 400]


def test_exported_tables(tmp_path: Path) -> None:
    path = make_table(tmp_path / "a.csv", [
        (7, 3, 1.0, 0.5, 0), (8, 3, 1.1, 1.5, 1), (9, 3, 1.2, 2.5, 1), (10, 3, 1.3, 0, 0)])
    done = CliRunner().invoke(main, ["report", str(path), "--csv-summary", str(tmp_path / "s.csv"),
                                     "--csv-events", str(tmp_path / "e.csv")])
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "a.report.html").exists()
    with (tmp_path / "s.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == SUMMARY_COLUMNS
    assert row == {"face_id": "3", "au": "12", "name": "Lip corner puller", "scale": "intensity", "frames": "4",
                   "frames_judged": "4", "frames_present": "2", "seconds_seen": "0.4", "seconds_judged": "0.4",
                   "seconds_present": "0.2", "present_share": "0.5", "mean": "1.125", "mean_present": "2",
                   "peak": "2.5", "peak_timestamp": "1.2", "peak_frame": "9", "events": "1", "events_per_minute": "150",
                   "event_mean_seconds": "0.2", "event_longest_seconds": "0.2"}
    with (tmp_path / "e.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == EVENT_COLUMNS
    assert row == {"face_id": "3", "au": "12", "name": "Lip corner puller", "scale": "intensity", "event": "1",
                   "onset": "1.1", "apex": "1.2", "offset": "1.3", "duration": "0.2", "peak": "2.5", "apex_frame": "9",
                   "onset_seen": "1", "offset_seen": "1"}


def test_exports_of_stills_name_the_picture(tmp_path: Path) -> None:
    path = make_table(tmp_path / "a.csv", [(0, 0, 0, "a.jpg", 2, 1), (1, -1, 0, "b.jpg")], before="input")
    done = CliRunner().invoke(main, ["report", str(path), "--csv-summary", str(tmp_path / "s.csv"),
                                     "--csv-events", str(tmp_path / "e.csv")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "s.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["input"] == "a.jpg" and row["seconds_present"] == "NaN" and row["frames_present"] == "1"
    assert (tmp_path / "e.csv").read_text().splitlines() == [",".join(EVENT_COLUMNS)]


# Tables that are none, or not whole


@pytest.mark.parametrize(("text", "says"), [
    ("", "empty"), ("\n", "empty"), (f"{HEAD},AU12_r,AU12_c\n", "no rows"),
    ("a,b\n1,2\n", "lacks the columns frame, face_id, timestamp, success, AU.._r, AU.._c"),
    (f"{HEAD}\n", "lacks the columns AU.._r, AU.._c"), (f"{HEAD.replace('timestamp', 'time')},AU12_r,AU12_c\n",
                                                        "lacks the column timestamp"),
    (f"{HEAD},AU12_r,AU12_c\n0,0,0,1,1,1,2,3,4,0,0,0,1,1\n1,0,0,1\n", "line 3"),
    (f"{HEAD},AU12_r,AU12_c\n0,0,0,1,1,1,2,3,4,0,0,0,x,1\n", "line 2"),
    (f"{HEAD},AU12_r,AU12_c\n0,0,NaN,1,1,1,2,3,4,0,0,0,1,1\n", "line 2"),
    (f"{HEAD},AU12_r,AU12_c\n0,0,5,1,1,1,2,3,4,0,0,0,1,1\n1,0,4,1,1,1,2,3,4,0,0,0,1,1\n", "back in time"),
    (f"{HEAD},AU12_r,AU12_c\n0,0,0,1,1,1,2", "no complete rows"), ("\0\1\2\xff" * 400, "lacks the columns"),
])
def test_what_is_no_table_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="a.csv") as error:
        read_table(path)
    assert says in str(error.value) and "\n" not in str(error.value)
    done = CliRunner().invoke(main, ["report", str(path)])
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and list(tmp_path.iterdir()) == [path]


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    path = make_table(tmp_path / "a.csv", [(i, 0, i / 10, 1, 1) for i in range(5)])
    whole = path.read_text()
    path.write_text(whole[:-3])
    table = read_table(path)
    assert table.cut and len(table.times) == 4
    path.write_text(whole)
    assert not read_table(path).cut
    path.write_bytes(b"\xef\xbb\xbf" + whole.replace("\n", "\r\n").encode())  # as a spreadsheet saves it
    assert not read_table(path).cut and len(read_table(path).times) == 5


def test_one_frame(tmp_path: Path) -> None:
    table = read_table(make_table(tmp_path / "a.csv", [(4, 0, 3.2, 1.5, 1)]))
    assert table.still and describe_face(table, table.faces[0]).aus[0].share == 1


def test_no_face_at_all(tmp_path: Path) -> None:
    table = read_table(make_table(tmp_path / "a.csv", [(i, -1, i / 10) for i in range(5)]))
    assert table.faces == () and len(table.times) == 5 and table.graded
