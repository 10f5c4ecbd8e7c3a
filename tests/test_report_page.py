"""`rtau report` as a user meets it: the page, its pictures and video, in a real browser where there is one."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from browser import Browser, find_chromium
from click.testing import CliRunner
from test_events import NAN, make_table

from rtau.cli import main
from rtau.errors import InputError, OutputError, UsageError
from rtau.report import read_table, write_report
from rtau.report.contents import EVENTS, FACES
from rtau.report.curves import POINTS
from rtau.report.facts import provenance, read_weak, weak_aus
from rtau.report.pictures import SIZE, cut_face
from rtau.store import read_manifest, weights_folder
from rtau.video import Video

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>&amp;'\".jpg"


def rtau(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def data_of(page: Path) -> dict:
    """What the page's scripts are given."""
    text = page.read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def long_rows(count: int) -> Iterator[tuple]:
    for i in range(count):
        yield i, i % 2, i // 2 / 30, 2 + np.sin(i / 40), int(i // 100 % 2)


@pytest.fixture(scope="module")
def made(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sample's table and, by --report, its page."""
    folder = tmp_path_factory.mktemp("made")
    done = rtau("process", sample, "--out", folder / "a.csv", "--report", "--columns", "raw,quality,landmarks")
    assert done.exit_code == 0 and "a.report.html" in done.output, done.output
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if find_chromium() is None:
        pytest.skip("Chromium is not installed")
    with Browser(tmp_path / "profile") as one:
        yield one


# The page of a video


def test_process_writes_the_page_beside_the_table(made: Path) -> None:
    data = data_of(made / "a.report.html")
    (face,) = data["faces"]
    assert data["kind"] == "time" and data["begin"] == 0 and data["end"] == pytest.approx(5.0)
    weak = read_weak((weights_folder() / "MODEL_CARD.md").read_text("utf-8"))
    assert {au["au"] for au in data["aus"] if au["weak"]} == set(weak)
    smile = [au["au"] for au in data["aus"]].index(12)
    assert face["stats"][smile]["share"] > 0.9 and face["events"][smile] and face["spans"] == [[0, pytest.approx(5.0)]]
    assert face["pictures"] and "AU12" in face["pictures"][0]["words"]
    assert "not found" not in (made / "a.report.html").read_text("utf-8")


def test_the_page_loads_nothing(made: Path) -> None:
    text = (made / "a.report.html").read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r'(?:src|href)="(?!data:)', text.replace("src=\"data:", ""))
    own = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= own


def test_the_facts_are_told(made: Path) -> None:
    text = (made / "a.report.html").read_text("utf-8")
    meta = json.loads((made / "a.csv.meta.json").read_text())
    for fact in (meta["weights"]["sha256"], meta["backend"], "one-euro", "movements, not feelings"):
        assert fact in text
    for au in weak_aus(meta):
        assert f"AU{au:02d}" in re.search(r"Weak: .*?</b>", text)[0]


def test_pictures_show_the_frame_of_their_time(tmp_path: Path) -> None:
    """A video of variable rate whose frames tell their number by their grey."""
    times = [0.0, 0.04, 0.2, 0.21, 1.3, 1.4]
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("libx264", 25, options={"qp": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 30 * i + 20, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with Video(tmp_path / "v.mkv") as video:
        shown = [(frame.index, frame.time, int(frame.image.mean())) for frame in video]
    rows = [(i, 0, time, 2.0 + (i in (1, 4)), int(i in (1, 4))) for i, time, _ in shown]
    table = make_table(tmp_path / "a.csv", rows)
    done = write_report(table, tmp_path / "r.html", video=tmp_path / "v.mkv")
    (face,) = data_of(done.path)["faces"]
    assert [p["time"] for p in face["pictures"]] == pytest.approx([shown[1][1], shown[4][1]])
    for picture, at in zip(face["pictures"], (1, 4), strict=True):
        raw = np.frombuffer(base64.b64decode(picture["src"].split(",")[1]), np.uint8)
        assert abs(int(cv2.imdecode(raw, cv2.IMREAD_COLOR)[SIZE // 2, SIZE // 2].mean()) - shown[at][2]) < 8


def test_another_video_gives_no_wrong_pictures(made: Path, fixtures: Path, tmp_path: Path) -> None:
    done = write_report(made / "a.csv", tmp_path / "r.html", video=fixtures / "turned.mp4")
    assert any("no frame of that time" in note for note in done.notes)


def test_a_video_that_is_gone_is_said(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "a.csv", tmp_path / "b.csv")
    done = write_report(tmp_path / "b.csv", tmp_path / "r.html")
    assert done.pictures == 0 and any("--video" in note for note in done.notes)
    assert any("b.csv.meta.json" in note for note in done.notes)


def test_the_video_travels_along(made: Path, sample: Path, tmp_path: Path) -> None:
    done = rtau("report", made / "a.csv", "--with-video", "--out", tmp_path / "r.html")
    assert done.exit_code == 0 and "the video" in done.output, done.output
    text = (tmp_path / "r.html").read_text("utf-8")
    data = base64.b64decode(re.search(r'id="clip">(.*?)<', text)[1])
    with av.open(io.BytesIO(data)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        assert max(container.streams.video[0].width, container.streams.video[0].height) <= 384
    table = set(np.round(read_table(made / "a.csv").times, 3).tolist())
    assert len(times) > 40 and {round(time, 3) for time in times} <= table
    assert f"{len(data) / 1e6:.1f} MB" in text and data_of(tmp_path / "r.html")["clip"]["begin"] == 0


# Pictures, and tables of odd kinds


def test_stills_are_shown_in_order(fixtures: Path, tmp_path: Path) -> None:
    done = rtau("process", fixtures / "*.jpg", "--out", tmp_path / "p.csv", "--report")
    assert done.exit_code == 0, done.output
    data = data_of(tmp_path / "p.report.html")
    assert [row["short"] for row in data["stills"]] == ["face.jpg", "no_face.jpg", "two_faces.jpg", "two_faces.jpg"]
    assert [row["picture"] is not None for row in data["stills"]] == [True, False, True, True]
    assert data["kind"] == "stills" and data["stills"][1]["levels"] is None
    blink = [au["au"] for au in data["aus"]].index(45)
    assert data["stills"][0]["levels"][blink] is None and data["faces"][0]["stats"][blink]["mean"] is None


def test_a_single_picture(fixtures: Path, tmp_path: Path) -> None:
    assert rtau("process", fixtures / "face.jpg", "--out", tmp_path / "p.csv", "--report").exit_code == 0
    (row,) = data_of(tmp_path / "p.report.html")["stills"]
    assert row["picture"] and len(row["levels"]) == 22


def test_pictures_are_found_in_a_folder(fixtures: Path, tmp_path: Path) -> None:
    table = make_table(tmp_path / "p.csv", [(0, 0, 0, "gone/face.jpg", 2, 1), (1, 1, 0, "gone/none.jpg", 2, 1)],
                       before="input")
    done = write_report(table, tmp_path / "r.html", video=fixtures)
    assert done.pictures == 1 and any("1 of 2 faces" in note for note in done.notes)


@pytest.mark.parametrize("rows", [[(i, -1, i / 10) for i in range(5)], [(0, -1, 0.0)], [(0, 0, 0.0, 2, 1)],
                                  [(i, 0, i / 10, NAN, NAN) for i in range(4)], [(i, 0, 0.0, 1, 1) for i in range(3)]])
def test_odd_tables_make_pages(rows: list[tuple], browser: Browser, tmp_path: Path) -> None:
    write_report(make_table(tmp_path / "a.csv", rows), tmp_path / "r.html")
    browser.open(tmp_path / "r.html")
    assert browser.complaints == [] and browser.requests == [(tmp_path / "r.html").as_uri()]
    assert "nan" not in browser.value("document.querySelector('main').innerText").lower().replace("nan: ", "")


def test_names_cannot_break_out(browser: Browser, tmp_path: Path) -> None:
    name = '"' + HOSTILE.replace('"', '""') + '"'
    table = make_table(tmp_path / "a.csv", [(0, 0, 0, name, 2, 1), (1, 1, 0, name, 2, 1)], before="input")
    (tmp_path / "a.csv.meta.json").write_text(json.dumps(
        {"inputs": [HOSTILE], "source": {"name": HOSTILE}, HOSTILE: HOSTILE, "complete": False, "error": HOSTILE}))
    write_report(table, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "<script>alert" not in text and "<img src=x" not in text
    assert len(re.findall("<script", text)) == 2
    browser.ask("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.broken = 1; }")
    browser.open(tmp_path / "r.html")
    assert browser.value("window.broken") is None and browser.complaints == []
    assert browser.value("document.querySelector('h1').textContent") == HOSTILE
    assert browser.value("document.querySelector('#stills td.name').textContent").startswith("script>")
    assert len(browser.requests) == 1


def test_a_long_table_makes_a_small_page(tmp_path: Path) -> None:
    table = make_table(tmp_path / "a.csv", list(long_rows(3 * POINTS)), (12,))
    done = write_report(table, tmp_path / "r.html")
    data = data_of(tmp_path / "r.html")
    assert done.size < 1_500_000 and any("no peak is lost" in note for note in done.notes)
    assert [face["curves"]["bin"] > 0 for face in data["faces"]] == [True, True]


def test_many_faces_and_events_are_bounded_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("rtau.report.contents.EVENTS", 10)
    rows = [(i, i // 4, i / 10, 1 + i / 1000, int(i % 2)) for i in range(4 * (FACES + 3))]
    done = write_report(make_table(tmp_path / "a.csv", rows), tmp_path / "r.html")
    data = data_of(tmp_path / "r.html")
    assert len(data["faces"]) == FACES and sum(len(face["events"][0]) for face in data["faces"]) < 10 < EVENTS
    assert any("3 more faces" in note for note in done.notes) and any("strongest events" in note for note in done.notes)


# Mistakes


@pytest.mark.parametrize(("words", "says"), [
    (["{folder}/none.csv"], "no table"), (["{folder}"], "can't be read"), (["{table}", "--out", "{table}"], "an input"),
    (["{table}", "--out", "{folder}"], "exists"), (["{table}", "--video", "{folder}/none.mp4"], "none.mp4"),
    (["{table}", "--video", "{table}"], "a.csv"), (["{table}", "--with-video"], "--video"),
    (["{table}", "--csv-events", "{folder}/e.csv", "--with-video"], "--out"),
    (["{table}", "--csv-events", "{folder}/e.csv", "--csv-summary", "{folder}/e.csv"], "same name")])
def test_mistakes_are_one_line_and_exit_code_2(words: list[str], says: str, tmp_path: Path) -> None:
    table = make_table(tmp_path / "a.csv", [(i, 0, i / 10, 1, 1) for i in range(5)])
    done = rtau("report", *(word.format(folder=tmp_path, table=table) for word in words))
    assert done.exit_code == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.output
    assert list(tmp_path.iterdir()) == [table]


def test_a_page_is_not_replaced_unasked(tmp_path: Path) -> None:
    table = make_table(tmp_path / "a.csv", [(i, 0, i / 10, 1, 1) for i in range(5)])
    (tmp_path / "a.report.html").write_text("mine")
    done = rtau("report", table)
    assert done.exit_code == 2 and "--overwrite" in done.stderr and (tmp_path / "a.report.html").read_text() == "mine"
    assert rtau("report", table, "--overwrite").exit_code == 0
    assert (tmp_path / "a.report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_errors_of_the_library(tmp_path: Path) -> None:
    still = make_table(tmp_path / "a.csv", [(0, 0, 0.0, 1, 1)])
    with pytest.raises(UsageError, match="pictures"):
        write_report(still, tmp_path / "r.html", video=still, with_video=True)
    with pytest.raises(OutputError):
        write_report(still, still / "r.html")
    with pytest.raises(InputError):
        write_report(tmp_path / "b.csv", tmp_path / "r.html")


def test_process_asks_before_replacing_a_page(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "a.report.html").write_text("mine")
    done = rtau("process", sample, "--out", tmp_path / "a.csv", "--report")
    assert done.exit_code == 2 and "a.report.html" in done.stderr and not (tmp_path / "a.csv").exists()


def test_help_has_an_example() -> None:
    assert "rtau report aus.csv" in rtau("report", "--help").output


# Parts


def test_weak_aus_are_read_from_the_card() -> None:
    card = (weights_folder() / "MODEL_CARD.md").read_text("utf-8")
    assert read_weak(card), "the card has no line of weak AUs that a report could tell"
    assert read_weak("# x\n\n## Not reliable\n\n- **AU 24 (.82), 4 (0.5)**: bad\n- **AU 1 (.1)**\n") == {24: .82, 4: .5}
    assert read_weak("# x\n") == {}
    shipped = read_manifest()["au"].sha256
    assert weak_aus({"weights": {"sha256": shipped}}) == read_weak(card)
    assert weak_aus({"weights": {"sha256": "0"}}) is None and weak_aus({}) is None


def test_facts_become_lines() -> None:
    facts = {"rtau": "1", "weights": {"file": "au", "sha256": "ab"}, "complete": True, "error": None,
             "inputs": [str(i) for i in range(9)], "new": {"deep": {"er": 0.5}}, "source": {"size": [4, 3]}}
    assert provenance(facts) == [("rtau version", "1"), ("weights", "au"), ("weights' SHA-256", "ab"),
                                 ("complete", "yes"), ("input", "0, 1, 2, 3, 4, and 4 more"), ("new, deep, er", "0.5"),
                                 ("source, size", "4x3")]


@pytest.mark.parametrize("box", [(10, 10, 40, 50), (-30, -30, 60, 60), (0, 0, 900, 900), (300, 300, 5, 5)])
def test_any_box_gives_a_square(box: tuple[float, ...]) -> None:
    image = np.full((200, 300, 3), 50, np.uint8)
    assert cut_face(image, np.array(box, np.float32)).shape == (SIZE, SIZE, 3)


# In a browser


def test_the_page_opens_and_answers(made: Path, browser: Browser) -> None:
    page = made / "a.report.html"
    browser.open(page)
    assert browser.value("document.querySelectorAll('#timeline .curve').length") == 22
    assert browser.value("document.querySelectorAll('#summary tr.au').length") == 22
    assert browser.value("document.querySelectorAll('#peaks img').length") > 0
    box = browser.value("(r => [r.left, r.top, r.width, r.height])(document.querySelector('#timeline svg')"
                        ".getBoundingClientRect())")
    middle, down = box[0] + box[2] / 2, box[1] + 200
    browser.mouse("mouseMoved", middle, down)
    assert browser.value("document.querySelector('.cursor').getAttribute('visibility')") == "visible"
    # A drag zooms in, a double click shows all again.
    browser.mouse("mousePressed", middle, down, button="left", clickCount=1)
    browser.mouse("mouseMoved", middle + 100, down, button="left", buttons=1)
    browser.mouse("mouseReleased", middle + 100, down, button="left", clickCount=1)
    assert browser.value("timeline.end - timeline.begin") < 1
    browser.value("timeline.home.dispatchEvent(new MouseEvent('dblclick'))")
    assert browser.value("timeline.end - timeline.begin") == pytest.approx(5.0)
    # A row unfolds into its events; the other measures and choices redraw.
    browser.value("[...document.querySelectorAll('#summary tr.au')].find(r => r.innerText.includes('AU12')).click()")
    assert "onset" in browser.value("document.querySelector('tr.events').innerText")
    for choice in ("phi", "both"):
        browser.value(f"$('measure').value = '{choice}', $('measure').dispatchEvent(new Event('change'))")
    browser.value("$('which').value = 'present', $('which').dispatchEvent(new Event('change'))")
    assert 0 < browser.value("document.querySelectorAll('#timeline .curve').length") < 22
    assert browser.complaints == []
    assert [address for address in browser.requests if not address.startswith("data:")] == [page.as_uri()]


def test_the_cursor_reads_what_the_table_has(browser: Browser, tmp_path: Path) -> None:
    rows = [(0, 0, 0.0, 1.2, 0), (1, 0, 0.1, 3.4, 1), (2, 0, 0.5, NAN, NAN), (3, -1, 0.6), (4, 0, 0.7, 2.0, 1)]
    write_report(make_table(tmp_path / "a.csv", rows), tmp_path / "r.html")
    browser.open(tmp_path / "r.html")
    read = "[0.05, 0.1, 0.49, 0.55, 0.65, 0.75].map(t => timeline.level(0, t))"
    assert browser.value(read) == [1.2, 3.4, 3.4, None, None, 2.0]
    assert browser.value("[0.05, 0.3, 0.55, 0.75].map(t => timeline.on(0, t))") == [False, True, False, True]
    assert browser.value("[clock(0), clock(59.96), clock(3725.5, 2)]") == ["0:00.0", "1:00.0", "1:02:05.50"]
    assert browser.complaints == []


def test_faces_are_chosen_and_the_video_keeps_step(made: Path, sample: Path, browser: Browser, tmp_path: Path) -> None:
    """Two faces by hand-made rows over the sample."""
    times = read_table(made / "a.csv").times
    rows = [(i, face, t, 1 + face, int(i > 50)) for i, t in enumerate(times) for face in (0, 1)]
    write_report(make_table(tmp_path / "a.csv", rows), tmp_path / "r.html", video=sample, with_video=True)
    browser.open(tmp_path / "r.html")
    assert browser.value("document.querySelectorAll('#faces button').length") == 2
    browser.value("document.querySelectorAll('#faces button')[1].click()")
    assert browser.value("[face.id, timeline.level(0, 1)]") == [1, 2]
    browser.value("new Promise(done => { const v = $('video'); v.onseeked = () => done(1); seek(3); })")
    assert browser.value("timeline.cursor") == pytest.approx(3, abs=0.05)
    assert "0:03" in browser.value("$('now').innerText")
    assert browser.complaints == [] and all(r.startswith(("file:", "blob:", "data:")) for r in browser.requests)


@pytest.mark.parametrize("width", [1400, 800])
def test_nothing_sticks_out(width: int, made: Path, browser: Browser) -> None:
    browser.resize(width, 900)
    browser.open(made / "a.report.html")
    assert browser.value("document.documentElement.scrollWidth") <= width
    spill = ("[...document.querySelectorAll('#timeline text')].filter(t => { const b = t.getBoundingClientRect();"
             f" return b.left < 0 || b.right > {width}; }}).length")
    assert browser.value(spill) == 0
