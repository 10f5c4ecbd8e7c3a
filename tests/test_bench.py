"""`rtau bench`: its material, its figures, what it keeps and compares, and what it says to bad input."""

import json
import math
import time

import numpy as np
import pytest
from click.testing import CliRunner

from rtau.analyze import Analyzer
from rtau.bench import Column, Report, Settings, Table, compare, keep_report, parts, read_report, run_bench
from rtau.bench.machine import peak_memory_mb, spending
from rtau.bench.scenes import Again, crowd, play_file, play_images, write_clip
from rtau.bench.start import time_process, time_program
from rtau.cli import main
from rtau.errors import InputError, OutputError, RtauError, UsageError
from rtau.source import open_source
from rtau.stopwatch import Stopwatch
from rtau.types import Frame


def rtau(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def table(name="speed", column=Column("rate", "Hz", "more"), **rows):
    return Table(name, "t", "row", (column,), tuple((row, (value,)) for row, value in rows.items()))


# -- material --------------------------------------------------------------------------------


def test_a_clip_plays_again_with_times_that_go_on_until_the_time_is_over(sample):
    begun = time.perf_counter()
    frames = [(frame.index, frame.time) for frame in Again("a", play_images([np.zeros((4, 4, 3), np.uint8)] * 3), 0.2,
                                                           rate=50)]
    assert 0.2 <= time.perf_counter() - begun < 2 and len(frames) > 20
    assert frames == [(i, i / 50) for i in range(len(frames))]
    assert list(Again("nothing", lambda: iter(()), 5.0, rate=25)) == []


def test_pictures_from_memory_go_forth_and_back(sample):
    images = [np.full((2, 2, 3), value, np.uint8) for value in (0, 1, 2, 3)]
    assert [int(frame.image[0, 0, 0]) for frame in play_images(images)()] == [0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("faces", [1, 6, 16])
def test_a_crowd_has_so_many_faces_of_one_size(sample, faces):
    with open_source(sample) as source:
        image = next(iter(source)).image
    analyzer = Analyzer()
    box = analyzer(Frame(image, 0.0, 0, still=True)).faces.boxes[0]
    [picture] = crowd([image], box, faces, (1280, 720))
    found = analyzer(Frame(picture, 1.0, 1, still=True)).faces.boxes
    assert picture.shape == (720, 1280, 3) and len(found) == faces
    heights = found[:, 3] - found[:, 1]
    assert heights.min() > 60 and heights.max() < 1.2 * heights.min()


def test_a_clip_is_encoded_at_another_size(tmp_path, sample):
    with open_source(sample) as source:
        images = [frame.image for frame, _ in zip(source, range(5), strict=False)]
    write_clip(images, (320, 240), tmp_path / "small.mp4", 25)
    played = [frame.image for frame in play_file(tmp_path / "small.mp4")()]
    assert len(played) == 5 and played[0].shape == (240, 320, 3)
    assert abs(played[2].mean() - images[2].mean()) < 5


# -- figures ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(sample):
    patch = pytest.MonkeyPatch()
    for name, few in (("_FACES", (1, 3)), ("_HEIGHTS", (90, 240)), ("_BATCHES", (1, 3)), ("_RATES", (10,)),
                      ("_STARTS", 2)):
        patch.setattr(parts, name, few)
    told = []
    with patch.context():
        report = run_bench(Settings(sample, seconds=0.4), lambda *part: told.append(part))
    patch.undo()
    assert told == [(name, done, len(parts.PARTS)) for done, name in enumerate(parts.PARTS)]
    return report


def rows_of(report, name):
    [found] = [t for t in report.tables if t.name == name]
    return {row: dict(zip((c.head for c in found.columns), values, strict=True)) for row, values in found.rows}


def test_a_file_from_end_to_end_and_its_stages(report):
    whole, stages = rows_of(report, "pipeline"), rows_of(report, "stages")
    assert list(whole) == ["decode alone", "to a table", "to a table and an overlay"]
    assert all(row["frames/s"] > 0 for row in whole.values())
    assert whole["decode alone"]["frames/s"] > whole["to a table and an overlay"]["frames/s"]
    assert {"decode", "landmarks", "action units", "crop", "smooth", "write"} <= set(stages)
    for row in stages.values():
        assert 0 < row["median, ms"] <= row["p95, ms"] <= row["p99, ms"]
    assert stages["landmarks"]["calls a frame"] == pytest.approx(1, abs=0.1)
    assert stages["action units"]["ms a frame"] < 1000 / whole["to a table"]["frames/s"]


def test_faces_resolutions_and_batches(report):
    faces, sizes, batches = (rows_of(report, name) for name in ("faces", "resolutions", "batches"))
    assert list(faces) == ["1", "3"] and list(sizes) == ["120x90", "320x240"] and list(batches) == ["1", "3"]
    for row in faces.values():
        assert row["faces/s"] > 0 and row["cores busy"] > 0
    assert faces["3"]["faces/s"] == pytest.approx(3 * faces["3"]["frames/s"], rel=0.02), "each was found in each frame"
    assert batches["3"]["AU, faces/s"] == pytest.approx(3000 / batches["3"]["AU, ms"], rel=1e-6)


def test_a_camera_and_the_start(report):
    live, start = rows_of(report, "live"), rows_of(report, "start")
    assert live["10 frames/s"]["frames/s"] < 30 and 0 < live["10 frames/s"]["median, ms"] < 2000
    assert start["rtau --help is over"]["seconds"] < start["its end"]["seconds"]
    assert start["the first row of rtau process"]["seconds"] <= start["its end"]["seconds"]
    assert start["its end"]["peak memory, MB"] > 50


def test_the_facts_say_what_the_figures_belong_to(report, sample):
    assert report.facts["backend"].startswith(("onnxruntime/cpu", "torch/cpu"))
    assert report.facts["video"].startswith(sample.name) and int(report.facts["cores"]) >= 1


def test_a_video_without_a_face_is_measured_as_far_as_it_goes(tmp_path):
    write_clip([np.full((72, 96, 3), value, np.uint8) for value in (90, 100, 110)], (96, 72), tmp_path / "no.mp4", 10)
    made = run_bench(Settings(tmp_path / "no.mp4", seconds=0.1, only=("pipeline", "faces")))
    assert [t.name for t in made.tables] == ["pipeline", "stages", "faces"]
    assert made.tables[1].note == "There is no face in this video."
    assert made.tables[2].rows == () and "no face" in made.tables[2].note


# -- the machine -----------------------------------------------------------------------------


def test_what_work_takes_is_counted(tmp_path):
    with spending(tmp_path) as spent:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    assert 0.05 <= spent.cpu and spent.seconds >= 0.04 and math.isnan(spent.joules)


def test_energy_is_that_of_the_packages_also_when_a_counter_begins_anew(tmp_path):
    def count(zone, value, most=10_000_000):
        (tmp_path / zone).mkdir(exist_ok=True)
        (tmp_path / zone / "energy_uj").write_text(f"{value}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text(f"{most}\n")

    for zone, value in (("intel-rapl:0", 9_000_000), ("intel-rapl:1", 100), ("intel-rapl:0:0", 5)):
        count(zone, value)
    with spending(tmp_path) as spent:
        count("intel-rapl:0", 1_500_000)
        count("intel-rapl:1", 500_100)
        count("intel-rapl:0:0", 9_999)
    assert spent.joules == pytest.approx(2.5 + 0.5)


def test_memory_is_counted_in_its_own_unit(monkeypatch):
    usage = type("Usage", (), {"ru_maxrss": 250_000})()
    monkeypatch.setattr("sys.platform", "linux")
    assert peak_memory_mb(usage) == 250
    monkeypatch.setattr("sys.platform", "darwin")
    usage.ru_maxrss = 250_000_000
    assert peak_memory_mb(usage) == 250


def test_a_stopwatch_remembers_the_last_calls_and_forgets_all():
    watch = Stopwatch()
    for _ in range(5000):
        with watch("x"):
            pass
    assert watch.calls["x"] == 5000 and len(watch.recent["x"]) == 4096
    assert sum(watch.recent["x"]) <= watch.seconds["x"]
    watch.clear()
    assert not watch.seconds and not watch.calls and not watch.recent


def test_programs_that_fail_are_told_in_a_line(tmp_path):
    assert time_program(["--version"]).seconds > 0
    with pytest.raises(RtauError, match="rtau process .*failed: rtau: .*not there"):
        time_process(tmp_path / "none.mp4", tmp_path / "out.csv")


# -- what is kept ----------------------------------------------------------------------------


def test_a_report_is_kept_and_read_back(tmp_path, report):
    keep_report(report, tmp_path / "deep" / "a.json")
    again = read_report(tmp_path / "deep" / "a.json")
    assert again.facts == report.facts and len(again.tables) == len(report.tables)
    for mine, theirs in zip(report.tables, again.tables, strict=True):
        assert (mine.name, mine.columns, mine.note) == (theirs.name, theirs.columns, theirs.note)
        for (a, x), (b, y) in zip(mine.rows, theirs.rows, strict=True):
            assert a == b and np.array_equal(x, y, equal_nan=True)
    json.loads((tmp_path / "deep" / "a.json").read_text(), parse_constant=pytest.fail)  # no NaN, which JSON lacks
    with pytest.raises(OutputError):
        keep_report(report, tmp_path)


def test_rates_and_times_compare_as_times_as_good():
    now = Report({}, (table(a=120.0, b=math.nan, c=5.0), table("wait", Column("time", "ms", "less"), a=10.0),
                      table("count", Column("size"), a=1.0)))
    before = Report({}, (table(a=100.0, b=3.0, d=1.0), table("wait", Column("time", "ms", "less"), a=12.0),
                         table("count", Column("size"), a=2.0)))
    rates, times = compare(now, before)
    assert rates.rows == (("a", (pytest.approx(1.2),)),) and times.rows == (("a", (pytest.approx(1.2),)),)
    with pytest.raises(UsageError, match="nothing in common"):
        compare(now, Report({}, (table("other", a=1.0),)))


def test_a_row_needs_a_number_for_each_column():
    with pytest.raises(ValueError, match="2 numbers for 1"):
        Table("n", "t", "k", (Column("a"),), (("x", (1.0, 2.0)),))


# -- the command -----------------------------------------------------------------------------


def test_the_command_prints_tables_and_compares(tmp_path, sample):
    first = rtau("bench", sample, "--only", "pipeline", "--seconds", "0.2", "--json", tmp_path / "a.json")
    assert first.exit_code == 0 and "to a table and an overlay" in first.output and "cores: " in first.output
    second = rtau("bench", sample, "--only", "pipeline", "--seconds", "0.2", "--against", tmp_path / "a.json")
    assert second.exit_code == 0 and "times as good as before" in second.output
    printed = rtau("bench", sample, "--only", "batches", "--seconds", "0.1", "--json", "-")
    assert json.loads(printed.stdout)["tables"][0]["name"] == "batches"


@pytest.mark.parametrize("words, said", [
    (["--only", "lunch"], "unknown part 'lunch': choose from start, pipeline"),
    (["nowhere.mp4"], "nowhere.mp4 is not there"),
    (["--against", "nowhere.json"], "nowhere.json can't be read"),
    (["--against", __file__], "is no report of rtau bench"),
    (["--backend", "abacus", "--only", "batches"], "unknown backend 'abacus'"),
])
def test_mistakes_are_one_line(words, said):
    result = rtau("bench", *words)
    assert result.exit_code == 2 and said in result.stderr
    assert len(result.stderr.splitlines()) == 1 and "Traceback" not in result.output


def test_a_picture_is_nothing_to_measure_with(fixtures):
    picture = next(iter(sorted(fixtures.glob("*.png")) + sorted(fixtures.glob("*.jpg"))))
    with pytest.raises(InputError, match="no video to measure with"):
        run_bench(Settings(picture))


def test_a_report_of_another_version_is_not_compared(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"format": 0, "facts": {}, "tables": []}))
    with pytest.raises(InputError, match="another version"):
        read_report(tmp_path / "a.json")
