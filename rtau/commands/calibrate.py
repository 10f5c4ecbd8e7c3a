"""The command `rtau calibrate`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import prepare_process


@click.command()
@click.option("--camera", "what", default="0", show_default=True, metavar="SOURCE", help="As in rtau live.")
@click.option("--video", type=click.Path(path_type=Path), metavar="FILE",
              help="A recording of the face at rest, in place of the camera.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=5.0, show_default=True, metavar="S",
              help="How long the face is watched.")
@click.option("--save", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The profile to write.")
@click.option("--model", type=click.Path(path_type=Path), metavar="FILE", help="As in rtau process.")
@click.option("--overwrite", is_flag=True, help="Replace a profile that exists.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
def calibrate(what: str, video: Path | None, seconds: float, save: Path, model: Path | None, overwrite: bool,
              no_progress: bool) -> None:
    """Learn what a person's face shows at rest.

    Faces differ: low corners of the mouth look like AU15, a heavy brow like AU4. Look at the camera with a relaxed
    face, lips closed, for five seconds; --profile then takes what was seen off that person's values.

    \b
    rtau calibrate --camera 0 --save me.json
    rtau live --camera 0 --profile me.json
    rtau calibrate --video resting.mp4 --save me.json
    """
    prepare_process()
    from ..analyze import Analyzer
    from ..camera import open_live
    from ..progress import PartProgress
    from ..rest import record_rest
    from ..sinks.paths import exists_error
    from ..source import open_source

    if save.exists() and not overwrite:
        raise exists_error(save)
    analyzer = Analyzer(model=model).prepare(side_by_side=video is not None)
    source = open_live(what) if video is None else open_source(video)
    with PartProgress(shown=not no_progress) as bar:
        profile = record_rest(source, analyzer, seconds, save, lambda left, faces: bar.begin(
            "keep a relaxed face" if faces else "no face is seen", round(10 * (seconds - left)), round(10 * seconds)))
    click.echo(f"{save}: {profile.frames} frames of a face at rest; use it with --profile {save}")
    for doubt in profile.doubts:
        click.echo(f"rtau: {doubt}: if that was a movement, calibrate again", err=True)
