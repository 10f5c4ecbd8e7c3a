"""The page of a stream: as it is served, and as a browser shows it."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Self

import cv2
import pytest
from browser import Browser, find_chromium
from click.testing import CliRunner
from streaming import ROOT, STATUS, Command, connect, make_frame, make_scores, wait_until

from rtau.au import AUS, BY_NUMBER
from rtau.cli import main
from rtau.streams import open_stream
from rtau.streams.web import page_html
from rtau.types import Scores

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> tuple[dict, str]:
    with _direct.open(url, timeout=20) as answer:
        return dict(answer.headers), answer.read().decode()


@contextmanager
def browsing(home: Path, url: str) -> Iterator[Browser]:
    """A browser that shows a page."""
    with Browser(home, 1280, 800) as browser:
        browser.open(url)
        yield browser


browser_needed = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")


@pytest.fixture
def server():
    with open_stream("web://:0", AUS) as sink:
        yield sink


class Feed:
    """Writes frames into a stream, 25 a second, until it is left."""

    def __init__(self, sink, faces: int = 2) -> None:
        self.sink, self.faces = sink, faces
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for i in count():
            self.sink.write(make_frame(i, name="clip.mp4"), make_scores(self.faces, seed=i // 25) if self.faces
                            else Scores.none(AUS), STATUS)
            if self._ended.wait(0.04):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()


def test_the_page_is_whole_and_loads_nothing() -> None:
    text = page_html().decode()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|url\(|https?://""", text)
    table = json.loads(re.search(r"const AU_TABLE = (\{.*?\}\});", text)[1])
    assert {code: one["name"] for code, one in table.items()} == {unit.code: unit.name for unit in BY_NUMBER.values()}


def test_the_page_and_the_stream_share_an_address(server) -> None:
    headers, text = fetch(server.url)
    assert headers["Content-Type"].startswith("text/html") and text.encode() == page_html()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(server.url + "etc/passwd")
    with connect(server.url.replace("http:", "ws:"), origin=server.url.rstrip("/")) as client:
        wait_until(lambda: server.clients)
        server.write(make_frame(), make_scores(1), STATUS)
        assert json.loads(client.recv(timeout=10))["rtau"] == 1


def test_a_stream_without_a_page_shows_none() -> None:
    with open_stream("ws://:0", AUS) as sink, pytest.raises(urllib.error.HTTPError, match="426"):
        fetch(sink.url.replace("ws:", "http:"))


@browser_needed
def test_a_browser_shows_a_column_per_face(server, tmp_path: Path) -> None:
    with Feed(server) as feed, browsing(tmp_path, server.url) as browser:
        browser.until("document.querySelectorAll('section').length === 2")
        assert browser.until("document.querySelector('#link').textContent === 'live'")
        headings = browser.value("[...document.querySelectorAll('h2')].map(e => e.textContent)")
        assert headings == ["Face 0", "Face 1"]
        names = browser.value("[...document.querySelectorAll('section:first-of-type .name')].map(e => e.textContent)")
        assert names == [BY_NUMBER[au].name for au in AUS]
        assert browser.value("document.querySelector('#source').textContent") == "camera 0"
        smile = "document.querySelector('[data-au=AU12]')"
        assert browser.value(f"{smile}.className") == "au present"
        assert browser.value(f"{smile}.querySelector('i').style.width") == "64%"
        assert browser.value(f"{smile}.querySelector('.value').textContent") == "3.2 C"
        hidden = "document.querySelector('[data-au=AU04]')"
        assert browser.value(f"{hidden}.className") == "au unknown"
        assert browser.value(f"{hidden}.querySelector('.value').textContent") == "n/a"
        assert "repeating-linear-gradient" in browser.value(f"getComputedStyle({hidden}.querySelector('.bar'))"
                                                            ".backgroundImage")
        assert browser.complaints == []
        # The timeline of AU12 is as high as its bar.
        drawn = ("(() => { const plot = " + smile + ".querySelector('canvas'), pen = plot.getContext('2d'),"
                 "alpha = [...pen.getImageData(plot.width - 4, 0, 1, plot.height).data].filter((_, i) => i % 4 === 3);"
                 "return alpha.filter(one => one > 128).length / plot.height; })()")
        wait_until(lambda: abs(browser.value(drawn) - 0.64) < 0.08)
        browser.picture(tmp_path / "page.png")
        assert cv2.imread(str(tmp_path / "page.png")).std() > 5
        feed.faces = 0
        browser.until("document.querySelectorAll('section').length === 0")
        assert browser.value("document.querySelector('#empty').textContent") == "No face."


@browser_needed
def test_the_page_connects_again_when_the_stream_is_back(tmp_path: Path) -> None:
    with open_stream("web://:0", AUS) as sink, browsing(tmp_path, sink.url) as browser:
        browser.until("document.querySelector('#link').textContent === 'live'")
        port = sink.url.split(":")[2].strip("/")
        sink.__exit__(None, None, None)
        browser.until("document.querySelector('#link').textContent.startsWith('not connected')")
        with open_stream(f"web://:{port}", AUS) as again, Feed(again, 1):
            browser.until("document.querySelectorAll('section').length === 1")
            assert browser.value("document.querySelector('#link').textContent") == "live"


@browser_needed
@pytest.mark.parametrize(("options", "expected"), [("", "closed"), ("?origin=null&origin=file://", "open")])
def test_a_page_of_another_site_gets_nothing_unless_allowed(options: str, expected: str, tmp_path: Path) -> None:
    """A file on disk is a foreign origin, too."""
    with open_stream(f"ws://:0{options}", AUS) as sink:
        page = tmp_path / "other.html"
        page.write_text(f"<script>let got = ''; const socket = new WebSocket('{sink.url}');"
                        "socket.onopen = () => got = 'open'; socket.onclose = () => got += 'closed';</script>")
        with browsing(tmp_path / "home", page.as_uri()) as browser:
            assert browser.until("got") == expected


@pytest.mark.parametrize(("words", "url"), [([], None), (["--web"], "web://127.0.0.1:8766"),
                                            (["--web", "9123"], "web://127.0.0.1:9123"),
                                            (["--web", "--seconds", "1"], "web://127.0.0.1:8766")])
def test_the_port_of_the_page_need_not_be_told(words: list[str], url: str | None, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("rtau.watch.watch_live", lambda what, analyzer, options: asked.append(options) or 0)
    assert CliRunner().invoke(main, ["live", *words]).exit_code == 0
    assert [address.url for address in asked[0].streams] == ([url] if url else [])


def test_a_bad_port_of_the_page_is_one_line() -> None:
    result = CliRunner().invoke(main, ["live", "--web", "first"])
    assert result.exit_code == 2 and "web://host:port" in result.stderr and len(result.stderr.splitlines()) == 1


@browser_needed
@pytest.mark.slow
def test_the_command_shows_a_clip_in_the_browser(sample, tmp_path: Path) -> None:
    with Command("live", "--camera", sample, "--no-terminal", "--web", "0", folder=tmp_path) as command:
        with browsing(tmp_path / "home", command.address("http")) as browser:
            browser.until("document.querySelectorAll('section').length === 1")
            assert browser.value("document.querySelector('#source').textContent") == "astronaut.mp4"
            assert browser.until("document.querySelector('[data-au=AU12]').className === 'au present'")
            assert browser.complaints == []
        assert command.end() == 0, command.said


@browser_needed
def test_the_javascript_client_of_the_documentation_works(tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    text = (ROOT / "docs" / "streaming.md").read_text("utf-8")
    code = re.search(r"<!-- javascript client -->\n```\w+\n(.*?)```", text, re.DOTALL)[1]
    with open_stream("ws://:0", AUS) as sink, HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as site:
        (tmp_path / "index.html").write_text(
            '<link rel="icon" href="data:,"><script>' + code.replace("8765", sink.url.rpartition(":")[2]) + "</script>")
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            with browsing(tmp_path / "home", f"http://localhost:{site.server_port}/") as browser, Feed(sink, 1):
                wait_until(lambda: browser.value("1") and browser.complaints, 60)
                assert "s, face 0: AU12 3.2" in browser.complaints[0]
        finally:
            site.shutdown()
            thread.join()
