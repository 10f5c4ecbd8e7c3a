"""The README and the pages of docs/: their commands run, their code runs, their links lead somewhere.

What a page shows is run in a folder of stand-ins that bear the names of the pages: a short cut of the clip that comes
with rtau for any video, the cut in place of a camera, tables of it. What needs more than that is parsed to the last
option. A command of which this file doesn't know how to treat it fails. A block may say before it
`<!-- not run: why -->`: its rtau commands are parsed, the rest is left alone.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import av
import click
import pytest
from click.testing import CliRunner
from networks import attributes_network

from rtau.cli import main
from rtau.errors import RtauError
from rtau.source import VIDEOS
from rtau.store import MANIFEST, weights_folder
from rtau.streams import parse_addresses

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "train" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Frames of the cut, and how many a second: long enough for five seconds at rest, and quickly done.
FRAMES, RATE = 26, 4
#: They take minutes, or data that is not here; test_process.py runs the demo: parsed, not run.
PARSED = {"bench", "data", "demo", "eval", "export", "train"}
#: They listen on a fixed port, open a window, or announce themselves in the network: parsed, not run.
PARSED_OPTIONS = {"--web", "--window"}
PARSED_STREAMS = ("ws:", "web:", "lsl:")
#: Languages of blocks that are no code of ours to run.
QUIET = {"text", "csv", "r", "matlab"}
#: Blocks after these marks are run by other tests.
ELSEWHERE = {"python client": "test_streams.py", "udp client": "test_streams.py", "javascript client": "test_web.py"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, line, language and text, and the comment right before it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def not_run(self) -> bool:
        return self.mark.startswith("not run:")

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    fence = re.compile(r"(?:^<!-- (?P<mark>[^\n]*?) -->\n+)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
                       re.MULTILINE | re.DOTALL)
    for found in fence.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(page, line, found["language"], found["text"], found["mark"] or "")


def name(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


def commands(text: str) -> Iterator[list[list[str]]]:
    """The commands of a shell block; each is a list of the programs that a pipe joins, as words."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for part in re.split(r"\s+&&\s+", line):
            words = shlex.split(part, comments=True)
            pipe: list[list[str]] = [[]]
            for word in words:
                if word == "|":
                    pipe.append([])
                else:
                    pipe[-1].append(word)
            if words:
                yield pipe


def parse(words: list[str]) -> tuple[click.Command, click.Context]:
    """The command that the words after `rtau` mean. Raises click.UsageError."""
    command: click.Command = main
    said, context = "rtau", None
    while isinstance(command, click.Group):
        if not words or words[0] not in command.commands:
            raise click.UsageError(f"{said} has no command {words[:1]}")
        context = command.make_context(said, [], context, resilient_parsing=True)
        said, *words = words
        command = command.commands[said]
    return command, command.make_context(said, list(words), context)


def options(command: click.Command) -> set[str]:
    return {text for parameter in command.params if isinstance(parameter, click.Option)
            for text in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}


# What is in the folder


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, sample: Path, fixtures: Path) -> Path:
    """A cut of the sample, and what rtau makes of it."""
    folder = tmp_path_factory.mktemp("stock")
    with av.open(str(sample)) as source, av.open(str(folder / "cut.mp4"), "w") as target:
        given = source.streams.video[0]
        made = target.add_stream("libx264", rate=RATE, options={"crf": "20"})
        made.width, made.height, made.pix_fmt = given.width, given.height, "yuv420p"
        for number, frame in enumerate(source.decode(given)):
            if number == FRAMES:
                break
            frame.pict_type = av.video.frame.PictureType.NONE
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            target.mux(made.encode(frame))
        target.mux(made.encode(None))
    for words in (["process", "cut.mp4", "--out", "aus.csv", "--columns", "quality"],
                  ["calibrate", "--video", "cut.mp4", "--save", "me.json"]):
        done = within(folder, words)
        assert done.exit_code == 0, done.output
    (folder / "photos").mkdir()
    shutil.copy(fixtures / "face.jpg", folder / "photos" / "one.jpg")
    return folder


def within(folder: Path, words: list[str]):
    """`rtau` in a folder, with a runner."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(main, words)
    finally:
        os.chdir(before)


@pytest.fixture
def desk(stock: Path, tmp_path: Path) -> Path:
    """A folder with the files that the pages speak of, besides those that `provide` adds."""
    shutil.copytree(stock / "photos", tmp_path / "photos")
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    for file in ("aus.csv", "aus.csv.meta.json", "me.json"):
        shutil.copy(stock / file, tmp_path)
    shutil.copy(stock / "cut.mp4", tmp_path / "video.mp4")
    # What `rtau export` leaves of networks of one's own.
    (tmp_path / "exported").mkdir()
    for file in weights_folder().glob("*.safetensors"):
        (tmp_path / "exported" / file.name).symlink_to(file)
    shutil.copy(weights_folder() / MANIFEST, tmp_path / "exported")
    attributes_network(tmp_path / "exported", lambda label: {"AU12": "Smiling"}.get(label, f"x{label}"))
    return tmp_path


def provide(words: list[str], desk: Path, stock: Path) -> None:
    """Put stand-ins where a command's inputs are to be: videos, folders of videos, tables."""
    command, context = parse(words)
    names = [parameter.name for parameter in command.params if isinstance(parameter, click.Argument)]
    inputs = [value for given in map(context.params.get, names)
              for value in (given if isinstance(given, tuple) else [given])]
    inputs += [context.params[key] for key in ("video", "what", "profile") if context.params.get(key)]
    for given in map(str, filter(None, inputs)):
        path = desk / given.replace("*", "one")
        if path.exists() or "://" in given or given.isdigit():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in VIDEOS:
            shutil.copy(stock / "cut.mp4", path)
        elif command.name == "process" and not path.suffix:
            path.mkdir()
            shutil.copy(stock / "cut.mp4", path / "one.mp4")
        elif path.suffix == ".csv" and path.stem in ("openface", "feat", "libreface"):
            done = within(desk, ["process", "video.mp4", "--like", path.stem, "--out", path.name])
            assert done.exit_code == 0, done.output
        elif path.suffix == ".csv" and path.stem in ("coder", "coded"):
            path.write_text("frame,AU12_c\n" + "".join(f"{frame},{frame % 2}\n" for frame in range(FRAMES)), "utf-8")
        elif path.suffix == ".csv" and command.name in ("compare", "convert", "report"):
            shutil.copy(stock / "aus.csv", path)


# Commands


def problem(block: Block, pipe: list[list[str]], desk: Path, stock: Path) -> str | None:
    """What is wrong with a command, None if it does what it should."""
    output = ""
    for words in pipe:
        program, *rest = words
        program = re.sub(r"^\.venv/bin/", "", program)
        if program == "torchrun" and "rtau" in rest:
            program, rest = "rtau", rest[rest.index("rtau") + 1:]
        if program == "rtau":
            try:
                output = run_rtau(rest, desk, stock, parsed=block.not_run)
            except (click.UsageError, RtauError, AssertionError) as error:
                return str(error.format_message() if isinstance(error, click.UsageError) else error)
        elif block.not_run:
            continue
        elif program == "jq":
            if shutil.which("jq"):
                done = subprocess.run(words, check=False, input=output, capture_output=True, text=True)
                if done.returncode:
                    return done.stderr
        elif program == "pip" or (program.startswith("python") and rest[:2] == ["-m", "pip"]):
            return pip_problem(rest[rest.index("pip") + 1:] if "pip" in rest else rest)
        elif program.startswith("python"):
            return python_problem(rest)
        else:
            return f"nobody knows how to try {program!r}: teach this test, or put <!-- not run: why --> before it"
    return None


def run_rtau(words: list[str], desk: Path, stock: Path, *, parsed: bool) -> str:
    """Run a command as far as it can be run here. Returns what it wrote to standard output."""
    if words and words[0].startswith("-"):
        done = within(desk, words)
        assert done.exit_code == 0, done.output
        return done.output
    aside = None
    if ">" in words:
        words, aside = words[:words.index(">")], words[words.index(">") + 1]
    command, context = parse(words)
    streams = context.params.get("streams") or ()
    parse_addresses(streams)
    given = str(context.params.get("what") or "")
    from_camera = given and not context.params.get("video") and not Path(given).suffix
    watched = command.name == "calibrate" and from_camera
    if (parsed or watched or words[0] in PARSED or PARSED_OPTIONS & set(words) or "://" in given
            or any(stream.startswith(PARSED_STREAMS) for stream in streams)):
        return ""
    words = list(words)
    if from_camera:
        # A file plays the camera.
        place = words.index("--camera") + 1 if "--camera" in words else None
        words[place or len(words):(place or len(words)) + 1] = ["video.mp4"] if place else ["--camera", "video.mp4"]
    if command.name == "live" and "--seconds" not in words:
        words += ["--seconds", "1"]
    if "--overwrite" in options(command) and "--resume" not in words:
        words.append("--overwrite")
    provide(words, desk, stock)
    done = within(desk, words)
    assert done.exit_code == 0, f"exit code {done.exit_code}: {done.output} {done.exception or ''}"
    if aside:
        (desk / aside).write_text(done.stdout, "utf-8")
    return done.stdout


def extras() -> set[str]:
    text = (ROOT / "setup.py").read_text("utf-8")
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"]
    return set(ast.literal_eval(next(word.value for word in calls[0].keywords if word.arg == "extras_require")))


def pip_problem(words: list[str]) -> str | None:
    """Whether what pip is to install has the extras that are named, and the files are there."""
    if words[:1] not in (["install"], ["wheel"], ["download"]):
        return f"pip {words[:1]} is not checked by anything"
    for before, word in itertools.pairwise(words):
        if before in ("-c", "-r") and not (ROOT / word).is_file():
            return f"{word} is not there"
    for word in words:
        found = re.fullmatch(r"(?:\.|rtau)\[([\w,]+)\]", word)
        if found and (missing := set(found[1].split(",")) - extras()):
            return f"setup.py has no extra {', '.join(missing)}"
    return None


def python_problem(words: list[str]) -> str | None:
    """Whether a script that is named is there, or a module is one that is known."""
    if words[:1] == ["-m"]:
        return None if words[1] in ("pytest", "venv") else f"python -m {words[1]} is not checked by anything"
    if not words or not (ROOT / words[0]).is_file():
        return f"there is no {words[:1]}"
    ast.parse((ROOT / words[0]).read_text("utf-8"))
    return None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands(page: Path, desk: Path, stock: Path) -> None:
    wrong = []
    for block in blocks(page):
        if block.language == "bash":
            for pipe in commands(block.text):
                found = problem(block, pipe, desk, stock)
                if found:
                    wrong.append(f"{block}: {' | '.join(map(shlex.join, pipe))}\n    {found}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_named_in_the_text_exist(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for span in re.findall(r"`(rtau [a-z][^`]*)`", text):
        words = re.findall(r"[^\s,]+", span)[1:]
        command: click.Command = main
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if command is main or not {word.split("=")[0] for word in words if word.startswith("--")} <= options(command):
            wrong.append(span)
    assert not wrong, wrong


# Code


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    for block in blocks(page):
        if block.language != "python":
            continue
        (desk / "block.py").write_text(block.text, "utf-8")
        absent = [module for node in ast.walk(ast.parse(block.text)) if isinstance(node, (ast.Import, ast.ImportFrom))
                  for module in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
                  if importlib.util.find_spec(module.split(".")[0]) is None]
        if block.not_run or block.mark in ELSEWHERE or absent:
            continue
        try:
            runpy.run_path(str(desk / "block.py"), run_name="__main__")
        except Exception as error:
            raise AssertionError(f"{block}: {error!r}") from error


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_blocks(tmp_path: Path) -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "javascript":
                file = tmp_path / "block.mjs"
                file.write_text(block.text, "utf-8")
                done = subprocess.run(["node", "--check", file], check=False, capture_output=True, text=True)
                assert done.returncode == 0, f"{block}: {done.stderr}"


def test_every_block_is_of_a_kind_that_is_known() -> None:
    for page in PAGES:
        for block in blocks(page):
            known = {"bash", "python", "javascript", "json", "toml"} | QUIET
            assert block.language in known, f"{block}: name a language"
            if block.language == "json":
                json.loads(block.text)
            if block.language == "toml":
                tomllib.loads(block.text)
            if block.not_run:
                assert len(block.mark.split()) > 3, f"{block}: say why it is not run"
            elif block.mark in ELSEWHERE:
                assert block.mark in (ROOT / "tests" / ELSEWHERE[block.mark]).read_text("utf-8"), str(block)


def test_unclosed_fences() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text("utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(list(blocks(page))), f"{page}: a block that this test does not see"


# Links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for link in links:
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists() and file.is_relative_to(ROOT), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(file), f"{link}: {sorted(anchors(file))}"


def test_every_page_is_in_the_list() -> None:
    text = (ROOT / "docs" / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in text, f"docs/README.md does not name {page.name}"


def test_pictures_are_small_and_shown() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < (400_000 if picture.suffix == ".svg" else 150_000), picture.name
        assert picture.name in text, f"no page shows {picture.name}"
    # As an <img> it plays without scripts, and says in words what it shows.
    recording = ElementTree.parse(ROOT / "docs" / "pictures" / "live.svg").getroot()
    parts = {part.tag.rpartition("}")[2] for part in recording.iter()}
    assert "script" not in parts and {"title", "style", "text"} <= parts
    assert any("AU12" in (part.text or "") for part in recording.iter())
