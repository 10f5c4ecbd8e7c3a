"""The data card counts what is there, the album shows it, and the commands lead to both."""

import json
import shutil

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from stand_in import SIZE, make_some, sample

from rtau.cli import _Group
from rtau.errors import InputError, OutputError
from rtau_train.commands.data import data
from rtau_train.data.shards import read_labels
from rtau_train.progress import CountBar
from rtau_train.puppet.card import _between, write_card


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve samples of four people."""
    out = tmp_path_factory.mktemp("card")
    make_some(out, count=12, folder=True)
    return out


@pytest.fixture
def command():
    """Runs `rtau data ...` as the command line does."""
    @click.group(cls=_Group)
    def main() -> None:
        """Stands for `rtau`."""

    main.add_command(data)
    return lambda *words: CliRunner().invoke(main, ["data", *map(str, words)])


def rows_of(card: str, head: str) -> dict[str, list[str]]:
    """A table by its first heading: row name -> cells."""
    lines = card.split(f"| {head} |")[1].splitlines()[2:]
    table = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        table[name] = cells
    return table


def test_the_card_counts_what_the_labels_say(folder, tmp_path):
    card = write_card(folder, tmp_path / "CARD.md").read_text()
    labels = list(read_labels(folder))
    assert "12 pictures of 4 people (6 train, 3 validation, 3 test)" in card and "seed 0" in card
    units = rows_of(card, "AU")
    for au in (1, 12, 25, 43):
        each = [l["aus"][str(au)] for l in labels]
        _, absent, *grades, present, one_sided, ignored = units[str(au)]
        assert int(ignored) == sum(u["ignore"] for u in each)
        assert int(present) == sum(u["presence"] == 1 for u in each) == sum(map(int, grades))
        assert int(absent) + int(present) + int(ignored) == 12
        assert int(grades[2]) == sum(not u["ignore"] and 3 <= u["intensity"] < 4 for u in each)
        assert int(one_sided) == sum(u["presence"] == 1 and abs(u["left"] - u["right"]) >= 1 for u in each)
    tone = labels[0]["skin"]["tone"]
    assert {name: cells for name, cells in rows_of(card, "tone").items() if cells[0] != "0"} == {
        tone: ["4", "12", "100.0 %"]}
    for head in ("Yaw, degrees", "Lamps", "Camera", "Before the face", "Face height, brow to chin, px of the picture"):
        assert sum(int(cells[0]) for cells in rows_of(card, head).values()) == 12
    for cells in rows_of(card, "part").values():
        assert list(map(int, cells)) == [0, 0, 0, 0, 12]
    assert {name: int(cells[0]) for name, cells in rows_of(card, "person").items()} == dict.fromkeys(
        ("001", "042", "094", "099"), 3)


def test_the_card_says_what_is_missing_and_whose_pictures_they_are(folder, tmp_path):
    card = write_card(folder, tmp_path / "CARD.md").read_text()
    for words in ("108 adults, aged 17 to 54", "no children", "dark-skinned", "Frontal", "creases", "CC-BY 4.0",
                  "doi:10.6084/m9.figshare.5047666", "doi:10.6084/m9.figshare.4220517", "MIT licence"):
        assert words in card
    assert write_card(folder, tmp_path / "AGAIN.md").read_text() == card


def test_the_card_says_how_many_faces_are_strangers(folder, tmp_path):
    assert "another shape" not in write_card(folder, tmp_path / "CARD.md").read_text()
    copy = shutil.copytree(folder, tmp_path / "strangers")
    settings = json.loads((copy / "render.json").read_text()) if (copy / "render.json").exists() else {}
    (copy / "render.json").write_text(json.dumps({**settings, "strangers": 0.8}))
    card = write_card(copy, tmp_path / "CARD.md").read_text()
    assert "In 80 % of them the face has another shape" in card and "strangers 0.8" in card


def test_a_card_of_nothing_or_of_other_labels_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="holds no shards"):
        write_card(tmp_path)
    labels = sample(0)[1]
    del labels["light"]
    (tmp_path / "00000000.jpg").write_bytes(b"pictures are not looked into")
    (tmp_path / "00000000.json").write_text(json.dumps(labels))
    with pytest.raises(InputError, match="labels of picture 0 lack 'light'"):
        write_card(tmp_path)
    (tmp_path / "a file").write_text("")
    with pytest.raises(OutputError, match="can't write"):
        write_card(folder, tmp_path / "a file" / "CARD.md")


@given(st.floats(-90, 90), st.lists(st.integers(-80, 80), min_size=1, max_size=6, unique=True).map(sorted))
def test_every_value_has_one_bin(value, edges):
    name = _between(value, edges)
    low, high = -np.inf, np.inf
    if name.startswith("<"):
        high = float(name[2:])
    elif name.startswith(">="):
        low = float(name[3:])
    else:
        low, high = map(float, name.split(" to "))
    assert low <= value < high


# -- commands --------------------------------------------------------------------------------


def test_card_and_sheet_of_a_folder(command, folder, tmp_path):
    done = command("card", folder, "--out", tmp_path / "CARD.md")
    assert done.exit_code == 0 and "CARD.md" in done.output and (tmp_path / "CARD.md").stat().st_size > 3000
    done = command("sheet", folder, "--out", tmp_path / "page.png", "--count", 6, "--columns", 4)
    assert done.exit_code == 0, done.output
    page = cv2.cvtColor(cv2.imread(str(tmp_path / "page.png")), cv2.COLOR_BGR2RGB)
    cell = page.shape[1] // 4
    for index, (row, column) in {0: (0, 0), 3: (0, 3), 5: (1, 1)}.items():
        corner = page[row * page.shape[0] // 2:, column * cell:][:SIZE, :SIZE]
        assert np.abs(corner.astype(int) - sample(index)[0]).mean() < 6
    below = page[SIZE:page.shape[0] // 2]
    assert (below < 100).any()  # words


def test_a_users_mistakes_are_one_line_and_code_2(command, folder, tmp_path):
    for words, line in ((("card", tmp_path / "nowhere"), "is no folder"),
                        (("sheet", folder, "--out", tmp_path / "page.gif"), "page.gif"),
                        (("render", "--out", tmp_path / "r", "--count", 3, "--people", ","), "nobody named"),
                        (("render", "--out", tmp_path / "r", "--count", 3, "--faces", tmp_path), "no portraits"),
                        (("clip", "--out", tmp_path / "c.mp4", "--size", "big"), "'big' is no size")):
        done = command(*words)
        assert done.exit_code == 2, (words, done.output, done.exception)
        assert done.output.startswith("rtau: ") and done.output.count("\n") == 1 and line in done.output


def test_each_help_has_an_example(command):
    for name in ("fetch", "add", "render", "sheet", "clip", "card"):
        done = command(name, "--help")
        assert done.exit_code == 0 and f"rtau data {name} " in done.output.split("Usage:")[1].split("\n", 1)[1]


def test_rendering_through_the_command_line(command, shared, tmp_path):
    words = ("render", "--count", 3, "--size", 64, "--workers", 2, "--people", "001", "--per-shard", 2, "--faces",
             shared / "faces", "--rig", shared / "ict_facekit" / "ict_facekit.npz", "--puppets", tmp_path / "puppets")
    done = command(*words, "--out", tmp_path / "a")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "3 pictures (3 made now)" in done.output
    again = command(*words, "--out", tmp_path / "a")
    assert again.exit_code == 0 and "(0 made now)" in again.output
    refused = command(*words, "--out", tmp_path / "a", "--seed", 1)
    assert refused.exit_code == 2 and "was rendered with seed 0, not 1" in refused.output
    assert [labels["person"] for labels in read_labels(tmp_path / "a")] == ["001"] * 3


def test_what_was_there_before_is_no_speed():
    from rich.console import Console

    bar = CountBar("pictures", console=Console(force_terminal=True, width=100, quiet=True))
    with bar as tell:
        tell(9000, 10000)
        tell(9001, 10000)
        task = bar._bar.tasks[0]
        assert task.completed == 9001 and task.total == 10000
        assert sum(step.completed for step in task._progress) == 1
