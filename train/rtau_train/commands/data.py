"""The commands of `rtau data`: each is one library call. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from rtau.cores import cores
from rtau.errors import UsageError

_PATH = click.Path(path_type=Path)
_INTERRUPTED = 130


def _parts_options(command):
    """Where the people and the rig are."""
    options = [
        click.option("--faces", type=_PATH, default=Path("rtau-data/faces"), show_default=True, metavar="FACES",
                     help="Folder of the open portraits, as rtau data fetch packs it."),
        click.option("--rig", type=_PATH, default=Path("rtau-data/ict_facekit/ict_facekit.npz"), show_default=True,
                     metavar="RIG", help="The face rig, as rtau data fetch packs it."),
        click.option("--added", type=_PATH, metavar="FOLDER", help="Also people of your own, see rtau data add."),
        click.option("--puppets", type=_PATH, metavar="FOLDER",
                     help="Where built people are kept; by default in your cache."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def data() -> None:
    """Make training data: openly licensed faces that perform exactly known AUs, or aligned pictures of your own.

    \b
    rtau data fetch --out rtau-data              the open portraits and the face rig
    rtau data render --out renders --count 20000 pictures with labels
    rtau data sheet renders                      a page of them to look at
    rtau data clip --out clip.mp4                a video with its truth
    rtau data card renders                       what they hold and lack, in numbers
    rtau data proof                              that the labels are true, in numbers
    rtau data align labels.csv --out faces       pictures of your own, or a corpus, ready for training
    rtau data index renders                      sizes and checksums, for training from another machine
    """


@data.command()
@click.option("--out", type=_PATH, default=Path("rtau-data"), show_default=True, metavar="FOLDER",
              help="Where the parts go; what is there and whole is not fetched again.")
@click.option("--part", "parts", multiple=True, metavar="NAME", help="Only this part; may be repeated.")
@click.option("--mirror", metavar="URL",
              help="Fetch from here, a folder or a URL, in place of the public repositories.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
def fetch(out: Path, parts: tuple[str, ...], mirror: str | None, no_progress: bool) -> None:
    """Get the portraits and the face rig, check them, and pack them with their licences.

    An interrupted download goes on where it stopped.

    \b
    rtau data fetch
    rtau data fetch --out rtau-data --part ict_facekit
    """
    with _needing_extras():
        from ..data.fetch import fetch as fetch_parts
    from ..progress import CountBar
    with CountBar("bytes", shown=not no_progress) as report:
        fetch_parts(out, parts=parts or None, mirror=mirror, report=report)
    click.echo(f"{out}: complete")


@data.command()
@click.argument("photos", type=_PATH)
@click.option("--out", type=_PATH, default=Path("rtau-data/added"), show_default=True, metavar="FOLDER",
              help="Where the people are kept, ready to perform.")
@click.option("--rig", type=_PATH, default=Path("rtau-data/ict_facekit/ict_facekit.npz"), show_default=True,
              metavar="RIG", help="The face rig, as rtau data fetch packs it.")
@click.option("--licence", default="", metavar="TEXT",
              help="What may be done with the portraits, in place of a file LICENCE among them.")
def add(photos: Path, out: Path, rig: Path, licence: str) -> None:
    """Add people of your own from a folder of neutral, frontal portraits, one picture each.

    The file's name names the person; a file LICENCE says what may be done with them. Portraits
    that don't fit are refused, each with its reason; exit code 1 if any was.

    \b
    rtau data add portraits/ --out rtau-data/added
    rtau data render --out renders --count 1000 --added rtau-data/added --people all
    """
    with _needing_extras():
        from ..puppet.add import add_portraits
    refused = 0
    for result in add_portraits(photos, out, rig=rig, licence=licence):
        click.echo(str(result), err=bool(result.refused))
        refused += bool(result.refused)
    if refused:
        raise SystemExit(1)


@data.command()
@click.option("--out", type=_PATH, required=True, metavar="DIR", help="Where the pictures go.")
@click.option("--count", type=click.IntRange(1), required=True, metavar="N",
              help="Pictures in all; a larger count extends a folder.")
@click.option("--size", type=click.IntRange(32, 1024), default=160, show_default=True, metavar="PX",
              help="Side of the pictures.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S",
              help="Same seed, same bytes, however many workers.")
@click.option("--workers", type=click.IntRange(1, 512), metavar="N", help="Processes; by default one per CPU core.")
@click.option("--look", type=click.Choice(["clean", "webcam", "mixed"]), default="mixed", show_default=True,
              help="As the studio sees it, as cameras do, or both.")
@click.option("--people", "people_text", default="train", show_default=True, metavar="WHO",
              help="train, validation, test, all, or names such as 001,042.")
@click.option("--even-tones", is_flag=True, help="Show people of rarer skin tones up to three times as often.")
@click.option("--strangers", type=click.FloatRange(0, 1), default=0.0, show_default=True, metavar="SHARE",
              help="Of the pictures in which a face has another shape and another look at rest: more people than there "
                   "are portraits, to learn from.")
@click.option("--format", "layout", type=click.Choice(["shards", "folder"]), default="shards", show_default=True,
              help="WebDataset tars, or loose files.")
@click.option("--per-shard", type=click.IntRange(1), default=1000, show_default=True, metavar="N",
              help="Pictures in a tar.")
@click.option("--quality", type=click.IntRange(50, 100), default=95, show_default=True, metavar="Q",
              help="Of the JPEG files.")
@click.option("--device", default="cpu", show_default=True, metavar="NAME",
              help="cpu, or cuda to draw many at once on an NVIDIA GPU (not verified on one yet).")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@_parts_options
def render(out: Path, count: int, size: int, seed: int, workers: int | None, look: Any, people_text: str, layout: str,
           per_shard: int, quality: int, device: str, strangers: float, even_tones: bool, no_progress: bool,
           **parts: Any) -> None:
    """Render pictures with labels: AUs, landmarks, pose, gaze, light, and what covers the face.

    A render that was interrupted goes on when the same command is given again.

    \b
    rtau data render --out renders --count 20000 --strangers 0.8 --even-tones
    rtau data render --out test --count 2000 --people test --look webcam --seed 7
    rtau data render --out look --count 24 --size 256 --format folder --people 001,042
    """
    with _needing_extras():
        from ..puppet import cast as casting
        from ..puppet.shards import render_shards
        from ..puppet.studio import Order
    from ..progress import CountBar

    cast = _cast(**parts)
    people = casting.choose_people(cast, _words(people_text))
    order = Order(cast, casting.even_tones(cast, people) if even_tones else people, size=size, seed=seed, look=look,
                  device=device, strangers=strangers)
    seen = [0, count]

    def watch(there: int, total: int) -> None:
        seen[:] = there, total
        report(there, total)

    try:
        with CountBar("pictures", shown=not no_progress) as report:
            done = render_shards(out, count=count, size=size, seed=seed, make=order, workers=workers or cores(),
                                 per_shard=per_shard, folder=layout == "folder", quality=quality, run=order.run,
                                 settings=order.settings(), report=watch)
    except KeyboardInterrupt:
        click.echo(f"rtau: stopped at {seen[0]} of {seen[1]} pictures; what is complete stays, "
                   "and the same command goes on", err=True)
        raise SystemExit(_INTERRUPTED) from None
    click.echo(f"{out}: {done.count} pictures ({done.made} made now)")


@data.command()
@click.argument("folder", type=_PATH, required=False)
@click.option("--out", type=_PATH, default=Path("sheet.jpg"), show_default=True, metavar="FILE", help="A .jpg or .png.")
@click.option("--count", type=click.IntRange(1, 2000), default=48, show_default=True, metavar="N",
              help="Pictures of the folder.")
@click.option("--columns", type=click.IntRange(1, 100), default=8, show_default=True, metavar="N",
              help="Of the folder's pictures side by side.")
@click.option("--people", "people_text", default="validation", show_default=True, metavar="WHO",
              help="Without a folder: train, validation, test, all, or names such as 001,042.")
@click.option("--aus", "aus_text", default="all", show_default=True, metavar="LIST",
              help="Without a folder: the AUs to show, such as 1,2,12.")
@click.option("--size", type=click.IntRange(32, 512), default=160, show_default=True, metavar="PX",
              help="Without a folder: side of the pictures.")
@_parts_options
def sheet(folder: Path | None, out: Path, count: int, columns: int, people_text: str, aus_text: str, size: int,
          **parts: Any) -> None:
    """Make a page of pictures to look at: a rendered FOLDER, or people by AUs.

    \b
    rtau data sheet renders --out page.jpg
    rtau data sheet --people 001,042 --aus 4,12,43 --out people.jpg
    """
    if folder is not None:
        with _needing_extras():
            from ..puppet.album import write_album
        click.echo(write_album(folder, out, count=count, columns=columns))
        return
    with _needing_extras():
        from ..puppet.cast import choose_people
        from ..puppet.sheet import contact_sheet
    from rtau.au import parse_aus

    cast = _cast(**parts)
    people = choose_people(cast, _words(people_text))
    click.echo(contact_sheet(cast, out, people=people, aus=parse_aus(aus_text),
                             size=size))


@data.command()
@click.option("--out", type=_PATH, required=True, metavar="VIDEO", help="An .mp4, .m4v, .mov or .mkv.")
@click.option("--person", metavar="NAME", help="Who performs; by default the first there is.")
@click.option("--script", type=_PATH, metavar="FILE",
              help="What is performed: TOML with events, or CSV with AU intensities over time; by default drawn.")
@click.option("--seconds", type=float, metavar="S", help="How long; by default the script's length, or 20.")
@click.option("--fps", type=float, default=30, show_default=True, metavar="N", help="Frames per second.")
@click.option("--size", "size_text", default="640x480", show_default=True, metavar="WxH", help="Pixels, even numbers.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S",
              help="Of all that is drawn by chance.")
@click.option("--speech", type=click.FloatRange(0, 1), default=0, show_default=True, metavar="SHARE",
              help="Without a script: share of the time in which the person speaks.")
@click.option("--look", type=click.Choice(["clean", "webcam"]), default="clean", show_default=True,
              help="The portrait's own light, or a drawn room before a webcam.")
@click.option("--variable-rate", is_flag=True, help="Frames at uneven times, now and then one missing.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@_parts_options
def clip(out: Path, person: str | None, script: Path | None, seconds: float | None, fps: float, size_text: str,
         seed: int, speech: float, look: str, variable_rate: bool, overwrite: bool, no_progress: bool,
         **parts: Any) -> None:
    """Render a video of one person, and beside it the exact AUs of every frame.

    VIDEO.csv holds the truth in rtau's own columns, VIDEO.json how it was made.

    \b
    rtau data clip --out clip.mp4 --person 001 --seconds 20 --seed 1
    rtau data clip --out smile.mp4 --script smile.toml --look webcam
    """
    with _needing_extras():
        from ..puppet.cast import choose_people
        from ..puppet.clip import make_clip
        from ..puppet.curves import draw_script
        from ..puppet.habits import Habits
        from ..puppet.render import Renderer
        from ..puppet.rig import load_rig
        from ..puppet.script_file import read_script
    from ..progress import CountBar

    import numpy as np

    width, height = _sides(size_text)
    if script is not None:
        acts = read_script(script, seconds=seconds, seed=seed)
    else:
        acts = draw_script(np.random.default_rng([seed, 0]), 20 if seconds is None else seconds,
                           habits=Habits(speech=speech))
    cast = _cast(**parts)
    performer = choose_people(cast, [person] if person else ["all"])[0]
    renderer = Renderer(load_rig(cast.rig))
    scene, sensor = _webcam(cast, height, np.random.default_rng([seed, 1])) if look == "webcam" else (None, None)
    with CountBar("frames", shown=not no_progress) as report:
        made = make_clip(cast.puppet(performer, renderer.rig), renderer, acts, out, seconds=seconds, fps=fps,
                         size=(width, height), seed=seed, scene=scene, sensor=sensor, variable_rate=variable_rate,
                         overwrite=overwrite, progress=report)
    click.echo(f"{made.video}: {made.frames} frames of {performer}, {made.seconds:.1f} s; truth in {made.truth}")


@data.command()
@click.argument("folder", type=_PATH)
@click.option("--out", type=_PATH, metavar="FILE", help="By default DATA_CARD.md in the folder.")
def card(folder: Path, out: Path | None) -> None:
    """Count what a rendered FOLDER holds, and say what it lacks.

    \b
    rtau data card renders
    rtau data card renders --out DATA_CARD.md
    """
    with _needing_extras():
        from ..puppet.card import write_card
    click.echo(write_card(folder, out))


@data.command()
@click.argument("folder", type=_PATH)
def index(folder: Path) -> None:
    """Write index.json of a FOLDER of shards, so that others train on it by its address.

    It lists sizes and SHA-256 sums; all but the pictures is also written as one file, with which a training begins
    before all shards have come. Put the whole folder on a web server or into a bucket then.

    \b
    rtau data index renders
    rtau train train/recipes/light.toml --run runs/au renders=https://data.example.org/renders
    """
    with _needing_extras():
        from ..data.index import INDEX, write_folder_index
    click.echo(f"{folder / INDEX}: {write_folder_index(folder)} shards")


@data.command()
@click.option("--people", "people_text", default="test", show_default=True, metavar="WHO",
              help="train, validation, test, all, or names such as 001,042.")
@click.option("--out", type=_PATH, default=Path("LABEL_PROOF.md"), show_default=True, metavar="FILE", help="A .md.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@_parts_options
def proof(people_text: str, out: Path, no_progress: bool, **parts: Any) -> None:
    """Measure that the labels are true: what each AU moves, what leaks, where points lie, how a face rests.

    \b
    rtau data proof
    rtau data proof --people own-ann --added rtau-data/added --out PROOF.md
    """
    with _needing_extras():
        from ..puppet.cast import choose_people
        from ..puppet.proof_page import prove, write_proof
    from ..progress import CountBar

    cast = _cast(**parts)
    people = choose_people(cast, _words(people_text))
    with CountBar("people", shown=not no_progress) as report:
        figures = prove(cast, people, report)
    click.echo(write_proof(figures, out))


def _cast(faces: Path, rig: Path, added: Path | None, puppets: Path | None):
    from ..puppet.cast import Cast, default_puppets

    return Cast(faces, rig, puppets or default_puppets(faces), added)


def _webcam(cast, height: int, rng):
    """A room and the camera in it."""
    import numpy as np

    from ..puppet.sample import AUS
    from ..puppet.scene import Performance, Scene
    from ..puppet.scenery import draw_background, draw_light
    from ..puppet.sensor import draw_sensor, sense

    still = Performance(np.zeros((len(AUS), 2), np.float32), {})  # the script performs
    scene = Scene(still, light=draw_light(rng), background=draw_background(cast.backgrounds(), rng))
    camera = draw_sensor(rng, "webcam", face=scene.face * height)
    return scene, lambda image, noise: sense(image, camera, noise)


def _sides(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.strip().isdigit() and height.strip().isdigit()):
        raise UsageError(f"{text!r} is no size: give width and height such as 640x480")
    return int(width), int(height)


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError("nobody named: choose train, validation, test, all, or names such as 001,042")
    return words


@contextlib.contextmanager
def _needing_extras() -> Iterator[None]:
    """Imports that the extra packages of training serve."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rtau"):
            raise
        raise UsageError(f"making data needs more packages ({error}): pip install 'rtau[train]'") from None
