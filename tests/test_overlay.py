"""Drawing on pictures, and the videos and pictures made of them."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from rtau.au import AUS
from rtau.errors import OutputError
from rtau.overlay import Overlay, draw_overlay
from rtau.sinks import OverlaySink, PictureSink, WindowSink, open_overlay
from rtau.sinks.window import shown_size
from rtau.types import Faces, Frame, Scores, Status

GREY = (120, 120, 120)


def picture(width: int = 320, height: int = 240, colour: tuple[int, int, int] = GREY) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def scores_at(*boxes: tuple[float, float, float, float], intensity: float = 3.0, present: bool = True,
              assessable: bool = True) -> Scores:
    """The same scores for a face at each box, points spread over the box."""
    n = len(boxes)
    array = np.array(boxes, np.float32).reshape(n, 4)
    grid = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 17), np.linspace(0.3, 0.9, 4)), -1).reshape(68, 2)
    points = array[:, None, :2] + grid[None].astype(np.float32) * (array[:, None, 2:] - array[:, None, :2])
    faces = Faces(array, np.full(n, 0.9, np.float32), np.arange(n), points.astype(np.float32),
                  np.zeros((n, 3), np.float32))
    shape = n, len(AUS)
    value = intensity if assessable else np.nan
    return Scores(AUS, faces, np.full(shape, value / 5, np.float32), np.full(shape, value, np.float32),
                  np.full(shape, present and assessable), np.full(shape, assessable), np.ones(n, np.float32))


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(before.astype(int) - after.astype(int)).max(2) > 8


def decoded(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("size", [(1, 1), (48, 32), (161, 121), (320, 240), (1280, 720), (720, 1280), (3840, 2160)])
@pytest.mark.parametrize("faces", [0, 1, 2, 5])
def test_drawing_at_any_size(size: tuple[int, int], faces: int) -> None:
    width, height = size
    step = width / max(1, faces)
    scores = scores_at(*((i * step + step * 0.2, height * 0.2, i * step + step * 0.6, height * 0.6)
                         for i in range(faces)))
    image = picture(width, height)
    before = image.copy()
    drawn = draw_overlay(image, scores, status=Status(30, 1, 0, 0.04, "torch/cpu", "camera 0"))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == before).all(), "the source picture must stay as it is"
    if faces and width >= 320:
        assert changed(image, drawn).mean() > 0.01


def test_box_and_bars_are_where_they_should_be() -> None:
    image = picture(1280, 720)
    box = (700, 200, 900, 450)
    drawn = draw_overlay(image, scores_at(box))
    difference = changed(image, drawn)
    assert difference[200, 700:900].all() and difference[200:450, 700].all()  # the box's top and left edge
    assert not difference[:, :300].any()
    panel = difference[200:500, 912:1200]
    assert panel.mean() > 0.5  # beside it: a panel


def test_stronger_means_longer_and_not_assessable_differs() -> None:
    image = picture(1280, 720)
    box = (300, 200, 500, 450)
    orange = np.array([255, 150, 40])  # AU12

    def pixels(scores: Scores) -> int:
        return int((np.abs(draw_overlay(image, scores, legend=False).astype(int) - orange).max(2) < 6).sum())

    weak, strong = pixels(scores_at(box, intensity=1.0)), pixels(scores_at(box, intensity=4.0))
    absent, unknown = pixels(scores_at(box, present=False)), pixels(scores_at(box, assessable=False))
    assert strong > 2 * weak > 0
    assert absent == unknown == 0
    assert changed(draw_overlay(image, scores_at(box, present=False)),
                   draw_overlay(image, scores_at(box, assessable=False))).any()


def test_panel_moves_to_the_side_with_room() -> None:
    image = picture(1280, 720)
    at_right = changed(image, draw_overlay(image, scores_at((1050, 200, 1250, 450)), legend=False))
    at_left = changed(image, draw_overlay(image, scores_at((30, 200, 230, 450)), legend=False))
    assert at_right[:, 600:1040].any() and not at_right[:, 1260:].any()
    assert at_left[:, 240:680].any() and not at_left[:, :20].any()


def test_panels_of_several_faces_hide_no_face() -> None:
    image = picture(1280, 720)
    boxes = [(60 + 250 * i, 200 + 40 * (i % 2), 180 + 250 * i, 350 + 40 * (i % 2)) for i in range(5)]
    scores = scores_at(*boxes)
    with_points = changed(image, Overlay(landmarks=False)(image, scores))
    for left, top, right, bottom in boxes:
        inside = with_points[top + 30:bottom - 10, left + 25:right - 25]
        assert not inside.any()


def test_panel_is_calm() -> None:
    """A face that trembles by a pixel does not move its panel."""
    image, overlay = picture(1280, 720), Overlay(landmarks=False)
    first = overlay(image, scores_at((300, 200, 500, 450)))
    second = overlay(image, scores_at((301, 201, 501, 451)))
    assert (first[:, 520:] == second[:, 520:]).all()
    overlay.forget()
    third = overlay(image, scores_at((301, 201, 501, 451)))
    assert (first[:, 520:] != third[:, 520:]).any()


def test_impossible_landmarks_are_left_out() -> None:
    scores = scores_at((100, 50, 200, 200))
    scores.faces.landmarks[0, 5] = np.nan
    image = picture()
    assert (draw_overlay(image, scores) == draw_overlay(image, scores, landmarks=False)).all()


def test_video_keeps_variable_times_and_shows_the_bars(tmp_path: Path) -> None:
    path = tmp_path / "a:b.mp4"  # a colon must not be read as a protocol
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.005, 0.2, 24)) + 3.0
    image, scores = picture(), scores_at((200, 60, 280, 170))
    with OverlaySink(path) as sink:
        for i, time in enumerate(times):
            sink.write(Frame(image, float(time), i), scores)
    frames = decoded(path)
    assert len(frames) == 24
    assert max(abs(got - want) for (got, _), want in zip(frames, times, strict=True)) < 0.001
    first = frames[0][1]
    expected = changed(image, draw_overlay(image, scores))
    assert changed(image, first)[expected].mean() > 0.8
    assert abs(first[230:, 300:].astype(int) - 120).max() < 6  # colours stay as they are where nothing is drawn


def test_clip_keeps_its_times(tmp_path: Path, shared: Path) -> None:
    path = tmp_path / "out.mkv"
    with av.open(str(shared / "clips" / "face_then_none.mov")) as container:
        source = [(frame.time, cv2.resize(frame.to_ndarray(format="rgb24"), (240, 136)))
                  for frame in itertools.islice(container.decode(video=0), 60)]
    with OverlaySink(path) as sink:
        for i, (time, image) in enumerate(source):
            sink.write(Frame(image, time, i), Scores.none(AUS))
    frames = decoded(path)
    assert len(frames) == 60
    assert max(abs(got - want) for (got, _), (want, _) in zip(frames, source, strict=True)) < 0.001


def test_equal_and_backward_times_and_stills(tmp_path: Path) -> None:
    with OverlaySink(tmp_path / "a.mp4") as sink:
        for i, time in enumerate([0.0, 0.0, 0.5, 0.4]):
            sink.write(Frame(picture(), time, i), Scores.none(AUS))
    times = [time for time, _ in decoded(tmp_path / "a.mp4")]
    assert len(times) == 4 and all(a < b for a, b in itertools.pairwise(times))
    with OverlaySink(tmp_path / "b.mp4") as sink:
        for i in range(3):
            sink.write(Frame(picture(), 0.0, i, still=True), Scores.none(AUS))
    assert [time for time, _ in decoded(tmp_path / "b.mp4")] == pytest.approx([0, 1, 2])


def test_odd_and_changing_sizes(tmp_path: Path) -> None:
    path = tmp_path / "odd.mov"
    with OverlaySink(path) as sink:
        sink.write(Frame(picture(161, 121), 0.0, 0), Scores.none(AUS))
        sink.write(Frame(picture(100, 400, (250, 250, 250)), 0.1, 1), Scores.none(AUS))
    (_, first), (_, second) = decoded(path)
    assert first.shape == second.shape == (122, 162, 3)
    assert abs(first.astype(int) - 120).max() < 8
    assert second[:, :30].max() < 30 and second[:, 75:87].min() > 220  # a tall picture between black borders


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_killed_process_leaves_a_playable_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    program = textwrap.dedent(f"""
        import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
        from test_overlay import *
        import time
        with OverlaySink({str(path)!r}) as sink:
            for i in range(150):
                sink.write(Frame(picture(), i / 30, i), scores_at((200, 60, 280, 170)))
            print("going", flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == b"going"
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.wait()
    frames = decoded(path)
    assert len(frames) >= 60  # of 150: the last seconds may be lost
    assert [time for time, _ in frames] == pytest.approx([i / 30 for i in range(len(frames))], abs=0.001)


def test_video_errors(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.mp4"):
        OverlaySink(tmp_path / "out.gif")
    (tmp_path / "there.mp4").write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"), OverlaySink(tmp_path / "there.mp4"):
        pass
    assert (tmp_path / "there.mp4").read_text() == "precious"
    with pytest.raises(OutputError, match="does not exist"), OverlaySink(tmp_path / "no" / "out.mp4"):
        pass
    with OverlaySink(tmp_path / "nothing.mp4"):
        pass
    assert not (tmp_path / "nothing.mp4").exists()


def test_encoder_failure_reaches_the_caller(tmp_path: Path) -> None:
    """x264 refuses this preset in its thread: the writer is told, and leaving does not hang."""
    with pytest.raises(OutputError, match="bad.mp4") as caught, OverlaySink(tmp_path / "bad.mp4", preset="no") as sink:
        for i in range(1000):
            sink.write(Frame(picture(), i / 30, i), Scores.none(AUS))
    assert "\n" not in str(caught.value)


def test_single_picture(tmp_path: Path) -> None:
    path, image, scores = tmp_path / "out.png", picture(), scores_at((200, 60, 280, 170))
    with open_overlay(path) as sink:
        assert isinstance(sink, PictureSink)
        sink.write(Frame(image, 0.0, 0, input="in.jpg", still=True), scores)
        with pytest.raises(OutputError, match="out.mp4"):
            sink.write(Frame(image, 0.0, 1, still=True), scores)
    assert (cv2.imread(str(path))[..., ::-1] == draw_overlay(image, scores)).all()
    with pytest.raises(OutputError, match="--overwrite"), open_overlay(path):
        pass


def test_folder_of_pictures(tmp_path: Path) -> None:
    names = ["a/one.png", "b/one.png", "two.jpg", "three.gif"]
    with open_overlay(f"{tmp_path}/out/") as sink:
        for i, name in enumerate(names):
            sink.write(Frame(picture(), 0.0, i, input=name, still=True), scores_at((200, 60, 280, 170)))
    found = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert found == ["one.png", "one_000001.png", "three.jpg", "two.jpg"]
    assert all(cv2.imread(str(p)).shape == (240, 320, 3) for p in (tmp_path / "out").iterdir())


def test_source_picture_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / "face.png"
    cv2.imwrite(str(source), picture())
    before = source.read_bytes()
    with pytest.raises(OutputError, match="source itself"), PictureSink(tmp_path, overwrite=True) as sink:
        sink.write(Frame(picture(), 0.0, 0, input=str(source), still=True), Scores.none(AUS))
    assert source.read_bytes() == before


def test_window_without_a_screen_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux runs without a screen")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(OutputError) as caught, WindowSink():
        pass
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("DISPLAY", ":4321")  # set, but nobody listens: Qt would abort this process
    with pytest.raises(OutputError), WindowSink():
        pass


@pytest.mark.parametrize(("size", "shown"), [((640, 480), (640, 480)), ((3840, 2160), (1280, 720)),
                                             ((1080, 1920), (450, 800)), ((320, 240), (640, 480))])
def test_window_fits_the_screen(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert shown_size(size) == shown


def test_presence_alone_is_drawn_as_bars_and_percentages() -> None:
    """With a probability of .6 the bars are as long as at intensity 3, without the notches of the grades."""
    graded = scores_at((90, 60, 150, 140), intensity=3.0)
    alone = replace(graded, intensity=np.full_like(graded.intensity, np.nan))
    before = picture(960, 720)
    bars, same = draw_overlay(before, alone, landmarks=False), draw_overlay(before, graded, landmarks=False)
    unknown = draw_overlay(before, scores_at((90, 60, 150, 140), assessable=False), landmarks=False)
    different = changed(same, bars)
    assert different.any() and different.mean() < 0.2 * changed(before, same).mean()
    assert changed(unknown, bars).mean() > 2 * different.mean()
