"""The styles of the overlay: muscles that glow, one line a face, the legend; and that each frame shows its own faces."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from rtau import Analyzer, open_source
from rtau.au import AUS, BY_NUMBER
from rtau.cli import main
from rtau.errors import UsageError
from rtau.overlay import STYLES, Overlay, draw_overlay
from rtau.overlay.heat import draw_heat
from rtau.overlay.marks import id_colour, int_box
from rtau.overlay.muscles import MIRROR, MUSCLES, outlines
from rtau.overlay.words import draw_words
from rtau.pen import Pen, mix, overlap
from rtau.types import Faces, Scores

GREY = 120


@pytest.fixture(scope="module")
def points(fixtures: Path) -> np.ndarray:
    """[68, 2] of a real face that looks ahead, in a picture of 320 pixels."""
    frame = next(iter(open_source(fixtures / "face.jpg")))
    return Analyzer()(frame).faces.landmarks[0].astype(np.float64)


def picture(width: int = 320, height: int = 320) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def scores_of(*points: np.ndarray, present: tuple[int, ...] = (), level: float = 3.5, unknown: tuple[int, ...] = ()
              ) -> Scores:
    """A face for each set of points, all with the same AUs."""
    n = len(points)
    landmarks = np.array(points, np.float32).reshape(n, 68, 2)
    lowest, highest = np.nanmin(landmarks, 1), np.nanmax(landmarks, 1)
    faces = Faces(np.concatenate([lowest, highest], 1), np.ones(n, np.float32), np.arange(n), landmarks,
                  np.zeros((n, 3), np.float32))
    shows, known = np.isin(AUS, present), ~np.isin(AUS, unknown)
    intensity = np.where(known, np.where(shows, level, 0.2), np.nan).astype(np.float32)
    rows = (lambda row: np.repeat(row[None], n, 0))
    return Scores(AUS, faces, rows(intensity / 5), rows(intensity), rows(shows & known), rows(known),
                  np.ones(n, np.float32))


def glow(scores: Scores, size: tuple[int, int] = (320, 320)) -> np.ndarray:
    """float [H, W]: how far each pixel of a grey picture was changed."""
    canvas = picture(*size)
    for face in range(len(scores)):
        draw_heat(canvas, scores, face)
    return np.abs(canvas.astype(float) - GREY).max(2)


def centre(weights: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:weights.shape[0], :weights.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(1, 1), (40, 30), (176, 144), (640, 360), (3840, 2160)])
def test_any_size_and_any_points(points: np.ndarray, style: str, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), GREY, np.uint8)
    ours = points * (size[1] / 320)
    gone = ours.copy()
    gone[40:] = np.nan
    far = [ours - 2 * size[0], ours * 1e4, ours * 1e-3, (ours - ours.mean(0)) * 40, (ours - ours.mean(0)) * 4000]
    for places in ([], [ours], [ours, ours + size[0] / 2, gone], far):
        drawn = draw_overlay(image, scores_of(*places, present=AUS), style=style)
        assert drawn.shape == image.shape and drawn.dtype == np.uint8 and (image == GREY).all()


def test_unknown_style_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="minimal, bars, regions"):
        Overlay("heat")
    done = CliRunner().invoke(main, ["process", str(tmp_path), "--overlay-style", "heat"])
    assert done.exit_code == 2 and "unknown overlay style 'heat'" in done.output


def test_mirror_takes_each_point_to_the_other_side(points: np.ndarray) -> None:
    assert (MIRROR[MIRROR] == np.arange(68)).all()
    across = points[45] - points[36]
    # Along the line through the eyes the order of the points turns round.
    ours, theirs = points @ across, points[MIRROR] @ across
    assert np.corrcoef(ours, theirs)[0, 1] < -0.95


def zone(points: np.ndarray, au: int) -> tuple[np.ndarray, np.ndarray]:
    """Two opposite corners of where the middle of an AU's glow in the left half must lie."""
    brow, eye, nose, mouth, chin = points[17:22], points[36:42], points[31:36], points[48:60], points[8]
    middle = points[27, 0]
    zones = {
        "forehead": ((brow[0, 0], brow[:, 1].min() - 60), (middle, brow[:, 1].max())),
        "brow": ((brow[0, 0], brow[:, 1].min() - 20), (middle, eye[:, 1].mean())),
        "eye": ((brow[0, 0] - 5, brow[:, 1].mean()), (middle, eye[:, 1].max() + 8)),
        "cheek": ((points[0, 0], eye[:, 1].mean()), (middle, nose[:, 1].max())),
        "nose": ((eye[0, 0], eye[:, 1].mean()), (middle, nose[:, 1].max() + 8)),
        "upper lip": ((mouth[0, 0], eye[:, 1].max()), (middle, mouth[:, 1].max())),
        "corner": ((points[3, 0], nose[:, 1].min() - 25), (middle, mouth[:, 1].max() + 15)),
        "lips": ((mouth[0, 0] - 12, nose[:, 1].max()), (middle, chin[1])),
        "below": ((points[3, 0], mouth[0, 1]), (middle, chin[1] + 5)),
    }
    where = {1: "forehead", 2: "forehead", 4: "brow", 5: "eye", 6: "cheek", 7: "eye", 9: "nose", 10: "upper lip",
             12: "corner", 14: "corner", 15: "below", 17: "below", 18: "lips", 20: "corner", 22: "lips", 23: "lips",
             24: "lips", 25: "lips", 26: "below", 28: "lips", 43: "eye", 45: "eye"}[au]
    return tuple(map(np.array, zones[where]))


@pytest.mark.parametrize("au", AUS)
def test_each_muscle_glows_where_it_is_and_on_both_sides(points: np.ndarray, au: int) -> None:
    seen = glow(scores_of(points, present=(au,)))
    assert seen.max() > 25, "it must be seen"
    middle = round(points[27 if BY_NUMBER[au].region in ("brow", "eye", "nose") else 57, 0])
    left, right = seen[:, :middle].sum(), seen[:, middle:].sum()
    assert 0.6 < left / right < 1.6
    low, high = zone(points, au)
    at = centre(seen[:, :middle])
    assert (low <= at).all() and (at <= high).all(), (at, low, high)
    # The face alone is touched.
    beyond = seen.copy()
    (x0, y0), (x1, y1) = points.min(0) - 25, points.max(0) + 20
    beyond[max(0, int(y0 - 45)):int(y1), max(0, int(x0)):int(x1)] = 0
    assert beyond.max() < 4


def test_stronger_glows_more_and_absent_not_at_all(points: np.ndarray) -> None:
    sums = [glow(scores_of(points, present=(12,), level=level)).sum() for level in (0.5, 2.0, 3.5, 5.0)]
    assert all(b > 1.15 * a for a, b in itertools.pairwise(sums))
    assert glow(scores_of(points)).max() == 0
    alone = scores_of(points, present=(12,))
    alone = replace(alone, intensity=np.full_like(alone.intensity, np.nan))  # a network that tells presence alone
    assert glow(alone).max() > 25


def test_the_colour_is_the_aus(points: np.ndarray) -> None:
    for au in (1, 9, 15):
        canvas = picture()
        draw_heat(canvas, scores_of(points, present=(au,), level=5.0), 0)
        y, x = np.unravel_index(np.abs(canvas.astype(int) - GREY).sum(2).argmax(), canvas.shape[:2])
        shift = canvas[y, x].astype(float) - canvas[y, x].mean()
        colour = np.array(BY_NUMBER[au].colour, float) - np.mean(BY_NUMBER[au].colour)
        assert shift @ colour / np.linalg.norm(shift) / np.linalg.norm(colour) > 0.95


def test_the_glow_turns_and_moves_with_the_face(points: np.ndarray) -> None:
    turn = cv2.getRotationMatrix2D((160, 160), 33, 0.8)
    turn[:, 2] += (14, -9)
    moved = points @ turn[:, :2].T + turn[:, 2]
    straight, turned = glow(scores_of(points, present=(2, 12))), glow(scores_of(moved, present=(2, 12)))
    expected = cv2.warpAffine(straight, turn, (320, 320))
    both = np.minimum(expected, turned).sum() / np.maximum(expected, turned).sum()
    assert both > 0.85


def test_unknown_points_take_their_muscles_along(points: np.ndarray) -> None:
    """Without the mouth's left corner its cheek stays as it is; the other side and the brows glow."""
    lost = points.copy()
    lost[48] = np.nan
    middle = round(points[27, 0])
    whole, part = glow(scores_of(points, present=(1, 12))), glow(scores_of(lost, present=(1, 12)))
    corner = np.s_[round(points[30, 1]):, :middle - 15]
    assert whole[corner].max() > 25 and part[corner].max() == 0
    assert abs(part[:, middle:] - whole[:, middle:]).mean() < 1 and part[:round(points[19, 1]), :middle].max() > 25
    assert glow(scores_of(np.where(np.arange(68)[:, None] == 0, points, np.nan), present=AUS)).max() == 0
    assert all(np.isfinite(outline).all() for au in AUS for shape in MUSCLES[au] for outline in outlines(shape, lost))


def test_what_cant_be_judged_is_hatched(points: np.ndarray) -> None:
    mouth = tuple(au for au in AUS if BY_NUMBER[au].region == "mouth")
    seen = glow(scores_of(points, present=AUS, unknown=tuple(set(AUS) - {1})))
    lips = seen[round(points[51, 1]):round(points[57, 1]), round(points[49, 0]):round(points[53, 0])]
    along = (lips > 12).astype(int)
    assert 0.1 < along.mean() < 0.8 and np.abs(np.diff(along, axis=1)).sum() > 2 * len(lips), "stripes"
    assert glow(scores_of(points, unknown=mouth))[:round(points[33, 1]) - 5].max() < 4, "the mouth alone"
    assert glow(scores_of(points, unknown=(45,))).max() == 0, "a picture knows no blinks: that hides no eye"
    assert glow(scores_of(points, unknown=mouth[:-1])).max() == 0, "one of the mouth's AUs can be judged"


def test_minimal_says_only_what_is_there(points: np.ndarray) -> None:
    image, place = picture(640, 480), points + (150, 120)

    def words(**told: object) -> np.ndarray:
        changed = np.abs(draw_overlay(image, scores_of(place, **told), style="minimal").astype(int) - GREY).max(2) > 8
        inside = changed[round(place[:, 1].min()) + 2:round(place[:, 1].max()) - 1,
                         round(place[:, 0].min()) + 2:round(place[:, 0].max()) - 1]
        assert not inside.any(), "the face itself stays free"
        return changed

    none, two = words(), words(present=(6, 12))
    assert two.sum() > 1.2 * none.sum() > 0
    assert words(present=(6, 12), level=1.5).sum() > none.sum()
    assert not two[int(place[:, 1].max()) + 30:].any(), "and no legend"


def test_two_lines_of_words_never_meet(points: np.ndarray) -> None:
    small = points * 0.4
    image, apart = picture(640, 480), [small + (100, 200), small + (170, 190), small + (250, 205)]
    scores = scores_of(*apart, present=(1, 2, 4, 6, 12, 25))
    assert (draw_overlay(image, scores, style="minimal") != image).any()
    taken = draw_words(Pen(image.copy(), 0.67), scores, [int_box(box) for box in scores.faces.boxes])
    assert not any(overlap(a, b) for n, a in enumerate(taken) for b in taken[:n])


@pytest.mark.parametrize("style", ["bars", "regions"])
def test_legend_where_there_is_room(points: np.ndarray, style: str) -> None:
    def legend(width: int, height: int, *places: np.ndarray) -> np.ndarray:
        image, scores = picture(width, height), scores_of(*places, present=(12,))
        return (draw_overlay(image, scores, style=style) != draw_overlay(image, scores, style=style, legend=False)).any(2)

    far = points * 0.5 + (20, 60)
    assert legend(1280, 720, far)[600:, 900:].mean() > 0.1
    assert not legend(640, 360, far).any(), "a small picture has none"
    wide = np.concatenate([points[:-2] * 6 - (400, 300), [(0, 0), (1280, 720)]])
    assert not legend(1280, 720, wide).any(), "it never covers a face"
    # It stays where it is while it can.
    overlay, image = Overlay(style), picture(1280, 720)
    overlay(image, scores_of(points + (930, 460)))  # drives it to the left corner
    after = overlay(image, scores_of(far)) != Overlay(style, legend=False)(image, scores_of(far))
    assert after[600:, :400].any() and not after[600:, 900:].any()


# -- the drawn frame is the one that was analysed

BITS, CELL = 7, 16


def numbered_clip(path: Path, face: np.ndarray, count: int) -> None:
    """A face that moves 5 pixels a frame; the frame's number in black and white squares at the lower right."""
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=25, options={"crf": "12", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for i in range(count):
            image = np.full((360, 640, 3), 96, np.uint8)
            image[20:20 + len(face), 10 + 5 * i:10 + 5 * i + face.shape[1]] = face
            for bit in range(BITS):
                x = 640 - CELL * (bit + 1)
                image[360 - CELL:, x:x + CELL] = 255 * (i >> bit & 1)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        video.mux(stream.encode(None))


def number_in(image: np.ndarray) -> int:
    return sum((image[-CELL // 2, 640 - CELL // 2 - CELL * bit].mean() > 128) << bit for bit in range(BITS))


def drawn_left(image: np.ndarray, near: int) -> int:
    """Column of the left edge of the box of face 0, by its colour."""
    colour = np.array(mix(id_colour(0), (40, 40, 40), 0.75), float)
    part = image[60:160].astype(float)
    away = np.abs(part - colour).max(2).mean(0)
    window = away[max(0, near - 40):near + 40]
    return max(0, near - 40) + int(window.argmin())


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("command", ["process", "live"])
def test_each_frame_shows_its_own_faces(tmp_path: Path, fixtures: Path, command: str, style: str) -> None:
    face = cv2.resize(cv2.imread(str(fixtures / "face.jpg"))[..., ::-1], (240, 240), interpolation=cv2.INTER_AREA)
    numbered_clip(tmp_path / "in.mp4", face, 24)
    outputs = ["--out", str(tmp_path / "t.csv"), "--overlay-style", style]
    call = (["process", str(tmp_path / "in.mp4"), "--overlay", str(tmp_path / "o.mp4"), "--no-progress"]
            if command == "process" else
            ["live", "--camera", str(tmp_path / "in.mp4"), "--record", str(tmp_path / "o.mp4"), "--no-terminal"])
    done = CliRunner().invoke(main, call + outputs, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "t.csv", newline="") as file:
        boxes = {int(row["frame"]): float(row["box_x"]) for row in csv.DictReader(file) if row["success"] == "1"}
    with av.open(str(tmp_path / "o.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    numbers = [number_in(frame) for frame in frames]
    assert numbers == sorted(set(numbers)) and len(numbers) >= (24 if command == "process" else 3)
    assert set(numbers) == set(boxes)
    for number, frame in zip(numbers, frames, strict=True):
        assert abs(drawn_left(frame, round(boxes[number])) - boxes[number]) <= 2.5, number
    steps = np.diff([boxes[number] for number in numbers]) / np.diff(numbers)
    assert np.median(steps) == pytest.approx(5, abs=0.7)  # so that another frame's box would be told
