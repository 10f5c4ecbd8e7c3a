"""Clips with truth: the video, its time stamps and its table agree; failures leave nothing behind."""

import csv
import errno
import json
import os
import resource
import signal

import numpy as np
import pytest

from rtau.boxes import box_of_points
from rtau.errors import OutputError, UsageError
from rtau.sinks import column_names
from rtau.video import Video
from rtau_train.puppet import encode
from rtau_train.puppet.clip import facts_path, frame_times, make_clip, shots, truth_path
from rtau_train.puppet.curves import BLINK, Event, Script, draw_script
from rtau_train.puppet.habits import Blink, Habits, Motions
from rtau_train.puppet.labels import GRADES, KNOTS
from rtau_train.puppet.sample import AUS
from rtau_train.puppet.scene import PARTS, Performance, Scene, Shot
from rtau_train.puppet.truth import TRUTH_AUS, Fact, split_closures, truth_of

SIZE = (96, 64)
SMILE = Event(12, start=0.2, onset=0.3, apex=0.5, offset=0.3, levels=(0.6, 0.6))
SCRIPT = Script(1.0, (SMILE,), motions=Motions(blinks=(Blink(0.5, 0.08, 0.04, 0.15),)))


class Person:
    """In place of a puppet."""

    name, licence = "somebody", "CC0"


class Painter:
    """In place of the renderer: grey pictures that grow brighter with the smile."""

    def __init__(self) -> None:
        self.calls = 0

    def render(self, puppet, scene, *, size, supersample) -> Shot:
        self.calls += 1
        shapes = scene.performance.shapes
        image = np.full((size[1], size[0], 3), 60 + 180 * shapes.get("mouthSmile_L", 0.0), np.uint8)
        points = np.stack(np.meshgrid(np.arange(17), np.arange(4)), -1).reshape(68, 2) * 3.0 + self.calls
        lids = np.array([1 - shapes.get(f"eyeBlink_{side}", 0.0) for side in "LR"], np.float32)
        return Shot(image, points.astype(np.float32), np.array([scene.yaw, scene.pitch, scene.roll], np.float32),
                    np.eye(3, dtype=np.float32), np.zeros(2, np.float32), dict.fromkeys(PARTS, 1.0), 0.0, lids)


def read(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return header, {name: np.array([float(row[i]) for row in rows]) for i, name in enumerate(header)}


def frames_of(path):
    with Video(path) as video:
        return [(frame.time, frame.image) for frame in video.open()]


@pytest.mark.parametrize(("suffix", "variable"), [(".mp4", False), (".mp4", True), (".mkv", False), (".mkv", True),
                                                  (".mov", True)])
def test_every_frame_has_its_truth_at_its_time(tmp_path, suffix, variable):
    out = tmp_path / f"clip{suffix}"
    told = []
    clip = make_clip(Person, Painter(), SCRIPT, out, size=SIZE, fps=25, variable_rate=variable, seed=3,
                     progress=lambda done, total: told.append((done, total)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, f"{out.name}.csv", f"{out.name}.json"]
    frames, (header, table) = frames_of(out), read(truth_path(out))
    assert len(frames) == len(table["frame"]) == clip.frames == len(told) and told[-1] == (clip.frames, clip.frames)
    assert [time for time, _ in frames] == pytest.approx(table["timestamp"], abs=1e-6)
    assert header == column_names(TRUTH_AUS, ("landmarks", "raw"))
    # The picture shows what the table says, at that frame: brightness goes with the smile.
    bright = np.array([image.mean() for _, image in frames])
    activation = np.interp(table["AU12_r_raw"], GRADES, KNOTS)
    assert bright == pytest.approx(60 + 180 * 0.9 * activation, abs=4)
    assert np.ptp(bright) > 90
    if variable:
        assert np.ptp(np.diff(table["timestamp"])) > 0.01
    else:
        assert np.diff(table["timestamp"]) == pytest.approx(0.04, abs=1e-3) and clip.frames == 25


def test_the_table_holds_what_is_true(tmp_path):
    out = tmp_path / "clip.mp4"
    clip = make_clip(Person, Painter(), SCRIPT, out, size=SIZE, fps=50, scene=Scene(Performance(
        np.zeros((18, 2), np.float32), {}), yaw=0.1, pitch=-0.2, roll=0.3))
    _, table = read(clip.truth)
    assert (table["success"] == 1).all() and (table["confidence"] == 1).all() and (table["face_id"] == 0).all()
    assert [table[name][0] for name in ("pose_Rx", "pose_Ry", "pose_Rz")] == pytest.approx([-0.2, 0.1, 0.3])
    assert table["x_5"][9] == pytest.approx(5 * 3 + 10) and table["y_40"][9] == pytest.approx(2 * 3 + 10)
    points = np.array([[table[f"{axis}_{i}"][9] for axis in "xy"] for i in range(68)])
    left, top, right, bottom = box_of_points(points[None])[0]
    box = [table[f"box_{name}"][9] for name in "xywh"]
    assert box == pytest.approx([left, top, right - left, bottom - top], abs=0.01)
    apex = (table["timestamp"] > 0.51) & (table["timestamp"] < 0.99)
    assert table["AU12_r"][apex] == pytest.approx(3.2, abs=1e-3) and (table["AU12_c"][apex] == 1).all()
    unsure = np.isnan(table["AU12_r"])
    assert (np.isnan(table["AU12_p"]) == unsure).all() and (np.isnan(table["AU12_c"]) == unsure).all()
    between = (table["AU12_r_raw"] > 0.5) & (table["AU12_r_raw"] < 1)
    assert (unsure == between).all() and between.any()  # neither absent nor present
    assert table["AU45_r_raw"].max() > 4 and table["AU43_r_raw"].max() == 0  # a blink, no closed eyes
    facts = json.loads(facts_path(out).read_text())
    assert facts["person"] == "somebody" and facts["licence"] == "CC0" and facts["seed"] == 0 and facts["fps"] == 50
    assert facts["script"]["events"][0]["levels"] == [0.6, 0.6] and len(facts["gaze"]) == clip.frames
    assert facts["codec"] == clip.codec


def test_the_same_seed_makes_the_same_frames(tmp_path):
    def noisy(seen):
        def sensor(image, rng):
            seen.append(np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8))
            return seen[-1]
        return sensor

    script = draw_script(np.random.default_rng(4), 1, habits=Habits(speech=0.5))
    runs = []
    for name, seed in (("a.mp4", 1), ("b.mp4", 1), ("c.mp4", 2)):
        seen = []
        make_clip(Person, Painter(), script, tmp_path / name, size=SIZE, seed=seed, sensor=noisy(seen))
        runs.append(np.stack(seen))
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])
    assert not np.array_equal(runs[0][0], runs[0][1])
    assert (tmp_path / "a.mp4.csv").read_bytes() == (tmp_path / "b.mp4.csv").read_bytes()


class Stop(Exception):
    """Something breaks."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop])
def test_a_run_that_is_cut_short_leaves_nothing(tmp_path, error):
    def cut(done, total):
        if done == 7:
            raise error

    with pytest.raises(error):
        make_clip(Person, Painter(), SCRIPT, tmp_path / "clip.mp4", size=SIZE, progress=cut)
    assert list(tmp_path.iterdir()) == []
    make_clip(Person, Painter(), SCRIPT, tmp_path / "clip.mp4", size=SIZE)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(error):
        make_clip(Person, Painter(), SCRIPT, tmp_path / "clip.mp4", size=SIZE, seed=9, overwrite=True, progress=cut)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before  # the old clip is whole


@pytest.mark.parametrize("limit", [2_000, 60_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, limit):
    """The larger limit lets the video pass and stops its table."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OutputError) as told:
            make_clip(Person, Painter(), Script(4.0, (SMILE,)), tmp_path / "clip.mp4", size=SIZE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    name = "clip.mp4:" if limit < 10_000 else "clip.mp4.csv:"
    assert name in str(told.value) and "\n" not in str(told.value) and "partial" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_truth_never_stands_beside_another_video(tmp_path, monkeypatch):
    out = tmp_path / "clip.mp4"
    make_clip(Person, Painter(), SCRIPT, out, size=SIZE)
    move = os.replace

    def stuck(source, target):
        if str(target).endswith(".json"):
            raise OSError(errno.EACCES, "no")
        if str(target).endswith(".csv"):
            assert not out.exists()  # were the run killed now, the old video would have new truth
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stuck)
        with pytest.raises(OutputError, match="no permission"):
            make_clip(Person, Painter(), SCRIPT, out, size=SIZE, seed=1, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4.json"]
    facts_path(out).unlink()
    facts_path(out).mkdir()
    with pytest.raises(OutputError, match="that is a folder"):
        make_clip(Person, Painter(), SCRIPT, out, size=SIZE, overwrite=True)


def test_files_that_exist_stay_unless_asked(tmp_path):
    truth_path(tmp_path / "clip.mp4").write_text("mine")
    painter = Painter()
    with pytest.raises(OutputError, match="--overwrite"):
        make_clip(Person, painter, SCRIPT, tmp_path / "clip.mp4", size=SIZE)
    assert painter.calls == 0 and (tmp_path / "clip.mp4.csv").read_text() == "mine"
    make_clip(Person, painter, SCRIPT, tmp_path / "clip.mp4", size=SIZE, overwrite=True)
    assert (tmp_path / "clip.mp4.csv").read_text().startswith("frame,")


@pytest.mark.parametrize(("name", "options", "words"), [
    ("clip.avi", {}, "end it with .mp4"), ("clip.mp4", {"size": (97, 64)}, "even"),
    ("clip.mp4", {"fps": 0}, "frames per second"), ("clip.mp4", {"seconds": 1e9}, "seconds"),
    ("clip.mp4", {"seconds": 0}, "seconds"), ("clip.mp4", {"crf": 70}, "crf"), ("no/clip.mp4", {}, "does not exist")])
def test_the_impossible_is_refused_before_anything_is_drawn(tmp_path, name, options, words):
    painter = Painter()
    with pytest.raises((UsageError, OutputError), match=words):
        make_clip(Person, painter, SCRIPT, tmp_path / name, **{"size": SIZE} | options)
    assert painter.calls == 0 and list(tmp_path.iterdir()) == []


def test_without_an_h264_encoder_mpeg4_is_written(tmp_path, monkeypatch):
    class Container:
        def __init__(self, real):
            self._real = real

        def add_stream(self, codec, **options):
            if codec == "libx264":
                raise ValueError("unknown codec")
            return self._real.add_stream(codec, **options)

        def __getattr__(self, name):
            return getattr(self._real, name)

    opened = encode.av.open
    with monkeypatch.context() as patch:
        patch.setattr(encode.av, "open", lambda *args, **options: Container(opened(*args, **options)))
        clip = make_clip(Person, Painter(), SCRIPT, tmp_path / "clip.mp4", size=SIZE, variable_rate=True)
    _, table = read(clip.truth)
    frames = frames_of(clip.video)
    assert clip.codec == "mpeg4" and [time for time, _ in frames] == pytest.approx(table["timestamp"], abs=1e-6)
    assert max(image.mean() for _, image in frames) == pytest.approx(60 + 180 * 0.54, abs=4)


def test_times_do_not_drift():
    times = frame_times(600, 30000 / 1001, clock=60_000)
    assert len(times) == 17982 and times[-1] == pytest.approx(17981 * 1001 / 30000, abs=1e-9)
    uneven = np.array(frame_times(60, 30, clock=1000, variable=True, seed=1))
    gaps = np.diff(uneven)
    assert gaps.min() > 0.02 and 0.06 < gaps.max() < 0.15 and uneven[-1] < 60 and len(uneven) > 1500
    assert uneven.tolist() == frame_times(60, 30, clock=1000, variable=True, seed=1)


# -- truth -----------------------------------------------------------------------------------


def test_short_closures_are_blinks_and_long_ones_closed_eyes():
    times = np.arange(0, 4, 0.02)
    closure = np.zeros(len(times))
    closure[(times >= 0.5) & (times < 0.7)] = 4
    closure[(times >= 0.45) & (times < 0.5)] = 0.7  # on the way
    closure[(times >= 1.5) & (times < 2.5)] = 5
    closure[(times >= 3.0)] = 0.4  # half closed lids
    eyes, blink = split_closures(times, closure)
    assert (eyes + blink == closure).all() and (np.minimum(eyes, blink) == 0).all()
    assert blink[(times >= 0.45) & (times < 0.7)].min() > 0 and eyes[(times >= 1.5) & (times < 2.5)].min() == 5
    assert eyes[times >= 3.0].min() == 0.4
    eyes, blink = split_closures(times[:20], np.full(20, 3.0))  # as much as is seen of it: 0.4 s
    assert blink.min() == 3 and eyes.max() == 0
    eyes, blink = split_closures(times[:30], np.full(30, 3.0))
    assert eyes.min() == 3 and blink.max() == 0


def fact(time=0.0, visible=1.0, part="mouth", **levels):
    activation = np.zeros((len(AUS), 2), np.float32)
    for name, level in levels.items():
        activation[AUS.index(int(name[2:]))] = level
    visibility = dict.fromkeys(PARTS, 1.0) | {part: visible}
    return Fact(time, activation, np.zeros(6, np.float32), 0.0, np.zeros((68, 2), np.float32), np.zeros(3), np.zeros(2),
                0.0, np.ones(2), visibility)


def test_what_is_hidden_is_not_known():
    seen, hidden = truth_of([fact(AU12=0.6, AU1=0.3), fact(0.1, visible=0.2, AU12=0.6, AU1=0.3)])
    smile, brow = TRUTH_AUS.index(12), TRUTH_AUS.index(1)
    assert seen.assessable[0, smile] and not hidden.assessable[0, smile] and not hidden.present[0, smile]
    assert hidden.assessable[0, brow] and hidden.present[0, brow]
    assert hidden.raw.assessable.all() and hidden.raw.intensity[0, smile] > 3
    one_eye, = truth_of([fact(visible=0.0, part="eye_left")])
    assert one_eye.assessable[0, TRUTH_AUS.index(BLINK)]  # the other one is seen


# -- the real renderer -------------------------------------------------------------------------


def test_a_puppet_smiles_and_blinks(shared, tmp_path):
    from rtau_train.data.portraits import read_rgb
    from rtau_train.puppet.portrait import Portrait
    from rtau_train.puppet.puppet import build_puppet
    from rtau_train.puppet.render import Renderer
    from rtau_train.puppet.rig import load_rig

    rig = load_rig(shared / "ict_facekit")
    marks = np.load(shared / "faces" / "london_neutral" / "landmarks.npz")
    row = list(marks["names"]).index("001_03")
    portrait = Portrait.from_template("001", read_rgb(shared / "faces" / "london_neutral" / "001_03.jpg"),
                                      marks["points"][row], "CC-BY 4.0")
    puppet, renderer = build_puppet(portrait, rig), Renderer(rig)
    options = {"size": (96, 96), "scene": Scene(Performance(np.zeros((18, 2), np.float32), {})), "supersample": 1}
    times = [0.0, 0.3, 0.6, 0.9]
    first, again = (list(shots(puppet, renderer, SCRIPT, times, **options)) for _ in range(2))
    assert all(np.array_equal(a[0].image, b[0].image) for a, b in zip(first, again, strict=True))
    corners = [np.linalg.norm(shot.points[48] - shot.points[54]) for shot, _ in first]
    lids = [shot.lid_gap.mean() for shot, _ in first]
    assert corners[0] < corners[1] < corners[2] and corners[2] > 1.1 * corners[0]
    assert lids[0] == pytest.approx(1) and lids[2] < 0.35 and lids[3] > 0.8
    clip = make_clip(puppet, renderer, SCRIPT, tmp_path / "clip.mp4", size=(96, 96), fps=10, supersample=1)
    _, table = read(clip.truth)
    assert table["AU12_r_raw"].max() > 3 and (table["AU12_r_raw"][:2] == 0).all()
    assert np.abs(np.stack([table["x_48"], table["y_48"]], 1)[3] - first[1][0].points[48]).max() < 0.01
    # At rest the truth says that nothing happens, and is sure of it.
    assert all(table[f"AU{au:02d}_r"][0] == 0 for au in TRUTH_AUS)
