"""The loop: the same curve after any stop, checkpoints that are whole, errors that name what went wrong."""

import json
import logging
import multiprocessing
import os
import resource
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from line import Line, settings_of
from rich.console import Console

from rtau.errors import InputError, OutputError, UsageError
from rtau_train import loop
from rtau_train.batches import Batch, Feed, Share
from rtau_train.checkpoint import load_checkpoint, save_checkpoint
from rtau_train.config import read_recipe
from rtau_train.display import Display
from rtau_train.learner import Learner
from rtau_train.loop import TrainingError, train
from rtau_train.run_folder import RunFolder
from rtau_train.schedule import averaging, learning_rate, ramp

#: Columns of metrics.csv that say how fast it went, and so are never the same twice.
SPEED = ("pictures_per_second", "minutes_left", "memory_gb")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    task = Line()
    task.charts = {"loss": ("loss", "fit", "small"), "figures": ("error", "nothing"), "empty": ("nothing",)}
    train(task, settings_of(), folder)
    return folder


def curve(folder):
    """metrics.csv without speed, as text."""
    header, *rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(header) if name not in SPEED]
    return [[row[i] for i in keep] for row in (header, *rows)]


def assert_same_run(folder, whole):
    assert curve(folder) == curve(whole)
    for name in ("last.pt", "best.pt"):
        a, b = (load_checkpoint(place / name) for place in (folder, whole))
        assert a.keys() == b.keys() and a.get("progress") == b.get("progress") and a.get("figures") == b.get("figures")
        for key in {"model", "averaged"} & a.keys():
            assert all(torch.equal(a[key][name], b[key][name]) for name in b[key])
        if "optimizer" in a:
            for number, state in b["optimizer"]["state"].items():
                assert all(torch.equal(a["optimizer"]["state"][number][k], v) for k, v in state.items())


# -- going on --------------------------------------------------------------------------------


def test_a_line_is_found(whole):
    rows = curve(whole)
    assert rows[0] == ["step", "fit", "small", "loss", "error", "score"]
    assert [row[0] for row in rows[1:]] == ["10", "20", "30", "40", "50", "60"]
    assert float(rows[-1][4]) < 0.1 < 1 < float(rows[1][4])
    assert load_checkpoint(whole / "best.pt")["step"] == 60


def test_a_run_killed_at_any_moment_goes_on_with_the_same_curve(whole, tmp_path):
    """A process of its own, killed by SIGKILL again and again, a little later each time."""
    settings, kills = settings_of(checkpoint_every=3), 0
    for attempt in range(7):
        run = multiprocessing.get_context("fork").Process(
            target=train, args=(Line(pause=0.004), settings, tmp_path))
        run.start()
        run.join(20 if attempt == 6 else 0.1 + 0.03 * attempt)
        kills += run.exitcode is None
        run.kill()
        run.join()
    assert run.exitcode == 0 and kills >= 3
    assert_same_run(tmp_path, whole)


def test_ctrl_c_ends_the_step_and_saves(whole, tmp_path):
    class Interrupted(Line):
        def factors(self, step):
            if step == 33:
                os.kill(os.getpid(), signal.SIGINT)
            return super().factors(step)

    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(), settings_of(), tmp_path)
    assert load_checkpoint(tmp_path / "last.pt")["progress"]["step"] == 34
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(Line(), settings_of(), tmp_path)
    assert_same_run(tmp_path, whole)


def test_a_finished_run_stays_as_it_is(whole):
    before = {file.name: file.stat().st_mtime_ns for file in whole.glob("*.pt")}
    best = train(Line(), settings_of(), whole)
    assert best["step"] == 60 and {file.name: file.stat().st_mtime_ns for file in whole.glob("*.pt")} == before


@pytest.mark.parametrize("change", [{"workers": 3}, {"workers": 2, "processes": True}, {"accumulate": 4},
                                    {"checkpoint_every": 7}])
def test_workers_and_checkpoints_change_nothing_and_pieces_only_the_rounding(whole, tmp_path, change):
    train(Line(), settings_of(**change), tmp_path)
    found, expected = curve(tmp_path), curve(whole)
    assert found == expected if "accumulate" not in change else np.allclose(
        np.array(found[1:], float), np.array(expected[1:], float), rtol=2e-4)


def test_another_seed_gives_another_curve(whole, tmp_path):
    train(Line(), settings_of(seed=1), tmp_path)
    assert curve(tmp_path)[1] != curve(whole)[1]


def test_settings_that_matter_must_be_the_same(whole):
    before = (whole / "metrics.csv").read_bytes()
    with pytest.raises(UsageError, match=r"loop.lr was 0.02, now 0.01; loop.seed was 0, now 3: .*--restart") as caught:
        train(Line(), settings_of(lr=0.01, seed=3), whole)
    assert "\n" not in str(caught.value)
    task = Line()
    task.facts = {"task": "line", "data": {"faces": 7}}
    with pytest.raises(UsageError, match="data was not given, now"):
        train(task, settings_of(), whole)
    assert (whole / "metrics.csv").read_bytes() == before


def test_a_restart_moves_what_was_there_aside(tmp_path):
    train(Line(), settings_of(steps=10), tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    train(Line(), settings_of(steps=20, lr=0.01), tmp_path, restart=True)
    assert (tmp_path / "previous-1" / "last.pt").read_bytes() == before
    assert len(curve(tmp_path)) == 3 and load_checkpoint(tmp_path / "last.pt")["progress"]["step"] == 20


def test_a_checkpoint_of_another_version_or_kind_is_refused(tmp_path):
    train(Line(), settings_of(steps=10), tmp_path)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    for change, line in (({"rtau": "0.0.9"}, r"written by rtau 0\.0\.9"), ({"format": 1}, "format 1")):
        torch.save(saved | change, tmp_path / "last.pt")
        with pytest.raises(UsageError, match=line):
            train(Line(), settings_of(steps=10), tmp_path)
    torch.save({"model": {}, "state": {"step": 3}}, tmp_path / "last.pt")
    with pytest.raises(UsageError, match="older rtau"):
        train(Line(), settings_of(steps=10), tmp_path)
    for damage in (b"", b"no zip", (tmp_path / "best.pt").read_bytes()[:-300]):
        (tmp_path / "last.pt").write_bytes(damage)
        with pytest.raises(InputError, match="last.pt is no readable checkpoint.*--restart") as caught:
            train(Line(), settings_of(steps=10), tmp_path)
        assert "\n" not in str(caught.value)


def test_one_training_at_a_time(whole):
    with RunFolder(whole), pytest.raises(UsageError, match="another rtau is training in it"):
        train(Line(), settings_of(), whole)


def test_early_stopping_keeps_the_best(tmp_path):
    class Worsens(Line):
        def evaluate(self, model):
            self.turn = getattr(self, "turn", 0) + 1
            return {"score": [1.0, 3.0, 2.0, 3.0, 2.5, 9.0][self.turn - 1]}

    best = train(Worsens(), settings_of(patience=3), tmp_path)
    assert best == {"score": 3.0, "step": 20} and len(curve(tmp_path)) == 1 + 5
    assert load_checkpoint(tmp_path / "best.pt")["step"] == 20
    assert train(Worsens(), settings_of(patience=3), tmp_path) == best and len(curve(tmp_path)) == 1 + 5


def test_a_score_is_better_than_none(tmp_path):
    class Begins(Line):
        def evaluate(self, model):
            self.turn = getattr(self, "turn", 0) + 1
            return {"score": [float("nan"), 1.0, float("nan")][self.turn - 1]}

    assert train(Begins(), settings_of(steps=30), tmp_path) == {"score": 1.0, "step": 20}


# -- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_and_names_the_batch(tmp_path, where):
    class Breaks(Line):
        def loss(self, model, batch):
            terms = super().loss(model, batch)
            if batch.sources[0] == "point 15.0":
                if where == "loss":
                    terms["fit"] = terms["fit"] * float("nan")
                else:  # the root's slope at 0 is infinite
                    terms["fit"] = terms["fit"] + (model[0].weight * 0).abs().sqrt().sum()
            return terms

    line = r"no number at step 15 \(.*nan-000015.json.*last good checkpoint"
    with pytest.raises(TrainingError, match=line) as caught:
        train(Breaks(), settings_of(), tmp_path)
    assert "\n" not in str(caught.value)
    listed = json.loads((tmp_path / "nan-000015.json").read_text())
    assert listed["faces"] == [f"point 15.{row}" for row in range(8)] and listed["step"] == 15
    saved = load_checkpoint(tmp_path / "last.pt")
    assert saved["progress"]["step"] == 10
    assert all(torch.isfinite(v).all() for v in saved["model"].values())


@pytest.mark.parametrize("processes", [False, True])
def test_an_error_while_drawing_a_batch_reaches_the_user(tmp_path, processes):
    class Fails(Line):
        def batch(self, share):
            if share.step == 4:
                raise InputError("picture 7 is gone")
            return super().batch(share)

    with pytest.raises(InputError, match="^picture 7 is gone$"):
        train(Fails(), settings_of(processes=processes, workers=2), tmp_path)


def test_a_worker_process_that_dies_is_one_line(tmp_path):
    class Dies(Line):
        def batch(self, share):
            if share.step == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(share)

    with pytest.raises(loop.RtauError, match="a process that draws batches died.*run the same command again") as caught:
        train(Dies(), settings_of(processes=True), tmp_path)
    assert "\n" not in str(caught.value)


def test_workers_do_not_outlive_a_training_that_is_killed(tmp_path):
    class Tells(Line):
        def batch(self, share):
            (tmp_path / f"worker-{os.getpid()}").touch()
            return super().batch(share)

    run = multiprocessing.get_context("fork").Process(
        target=train, args=(Tells(pause=0.05), settings_of(processes=True, workers=2), tmp_path))
    run.start()
    workers: list[int] = []
    for _ in range(3000):
        workers = [int(f.name[7:]) for f in tmp_path.glob("worker-*")]
        if len(workers) == 2:
            break
        time.sleep(0.02)
    assert len(workers) == 2
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    for worker in workers:
        for _ in range(60):
            try:
                os.kill(worker, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"worker {worker} is still there")


def full_disk(folder, answer):
    """In a process of its own: no file may grow beyond 4 kB, and the checkpoint is larger."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        train(Line(), settings_of(), folder)
    except OutputError as error:
        answer.send(str(error))


def test_a_full_disk_leaves_the_last_checkpoint_intact(tmp_path, whole):
    class Interrupted(Line):
        def factors(self, step):
            if step == 10:
                raise KeyboardInterrupt
            return super().factors(step)

    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(), settings_of(), tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    run = context.Process(target=full_disk, args=(tmp_path, theirs))
    run.start()
    run.join(20)
    line = ours.recv()
    assert "can't be written" in line and "free some space" in line and "intact" in line and "\n" not in line
    assert (tmp_path / "last.pt").read_bytes() == before and not list(tmp_path.glob("*.partial"))
    train(Line(), settings_of(), tmp_path)
    assert_same_run(tmp_path, whole)


def test_damaged_metrics_are_named(tmp_path):
    train(Line(), settings_of(steps=10), tmp_path)
    (tmp_path / "metrics.csv").write_text("step,fit\n10,some\n")
    with pytest.raises(InputError, match="metrics.csv can't be read"):
        train(Line(), settings_of(steps=10), tmp_path)


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file"):
        train(Line(), settings_of(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_unreadable_faces_are_listed_once_each(tmp_path, caplog):
    class Lacks(Line):
        def batch(self, share):
            batch = super().batch(share)
            return replace(batch, unreadable=("b.jpg", "a.jpg") if share.step % 2 else ())

    with caplog.at_level(logging.WARNING):
        train(Lacks(), settings_of(steps=10), tmp_path)
    assert (tmp_path / "unreadable.txt").read_text() == "a.jpg\nb.jpg\n"
    assert caplog.text.count("can't be read") == 1


def test_a_batch_smaller_than_its_pieces_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="a batch of 8 can't be cut in 9"):
        train(Line(), settings_of(accumulate=9), tmp_path)


# -- precision, schedules, batches -----------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_half_precision_learns_too_and_keeps_float32_weights(tmp_path, precision):
    seen = []

    class Sees(Line):
        def loss(self, model, batch):
            seen.append(model(batch["x"]).dtype)
            return super().loss(model, batch)

    best = train(Sees(), settings_of(precision=precision), tmp_path)
    assert set(seen) == {getattr(torch, precision)} and best["error"] < 0.3
    assert all(v.dtype == torch.float32 for v in load_checkpoint(tmp_path / "last.pt")["model"].values())


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, peak=2.0, warmup=10, steps=110) for step in range(111)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(2 * (0.01 + 0.99 / 2)) and rates[110] == pytest.approx(0.02)
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_a_ramp_waits_rises_and_stays():
    values = [ramp(step, start=5, length=10) for step in range(30)]
    assert values[:5] == [0] * 5 and values[5] == pytest.approx(np.exp(-5)) and values[15:] == [1.0] * 15
    assert all(a < b for a, b in zip(values[5:15], values[6:16], strict=True))
    assert [ramp(step, start=0, length=0) for step in (0, 1)] == [1, 1]


def test_averages_follow_fast_at_first():
    assert averaging(0, 0.999) == 0.1 and averaging(10**6, 0.999) == 0.999


def test_a_share_is_a_part_of_the_whole_batch():
    whole = Share(3, 7)
    parts = [Share(3, 7, piece, 3) for piece in range(3)]
    assert [row for part in parts for row in part.rows(8)] == list(whole.rows(8)) == list(range(8))
    assert parts[1].rng(4).random() == whole.rng(4).random() != whole.rng(5).random() != whole.rng(4, 1).random()
    assert whole.rng(4).random() != Share(3, 8).rng(4).random() and whole.rng(4).random() != Share(4, 7).rng(4).random()


def test_every_face_comes_once_before_any_comes_again():
    picks = [Share(0, step).pick(row, 4, 10) for step in range(5) for row in range(4)]
    assert sorted(picks[:10]) == sorted(picks[10:]) == list(range(10)) and picks[:10] != picks[10:]
    assert picks != [Share(1, step).pick(row, 4, 10) for step in range(5) for row in range(4)]


def test_batches_come_in_order_whatever_each_takes():
    def draw(share):
        time.sleep(0.02 if share.step % 3 == 0 else 0)
        return Batch({"step": torch.tensor([share.step])}, {})

    for workers in (1, 4):
        steps = [(step, int(pieces[0]["step"])) for step, pieces in Feed(draw, 0, workers=workers).run(range(5, 17))]
        assert steps == [(step, step) for step in range(5, 17)]


def test_weights_that_are_no_matrices_do_not_decay():
    learner = Learner(Line(norm=True), settings_of(weight_decay=0.5), loop.Team(), torch.device("cpu"))
    decays = {id(p): group["weight_decay"] for group in learner.optimizer.param_groups for p in group["params"]}
    assert {name: decays[id(p)] for name, p in learner.model.named_parameters()} == {
        "0.weight": 0.5, "2.weight": 0, "2.bias": 0, "5.weight": 0.5, "5.bias": 0}


# -- folder and display ----------------------------------------------------------------------


def test_the_folder_says_what_was_done(whole):
    assert json.loads((whole / "config.json").read_text())["loop"]["lr"] == 0.02
    around = json.loads((whole / "environment.json").read_text())
    assert around["packages"]["torch"] == torch.__version__ and around["rtau"] and around["cores"] > 0
    for name in ("loss.png", "figures.png"):
        assert (whole / name).read_bytes().startswith(b"\x89PNG")
    assert not (whole / "empty.png").exists()
    assert "step 60" in (whole / "log.txt").read_text()


def test_tensorboard_reads_the_curve(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    assert {"loss/fit", "loss/loss", "validation/error", "speed/memory_gb"} <= set(events.Tags()["scalars"])
    assert [(e.step, f"{e.value:.5g}") for e in events.Scalars("validation/error")] == [
        (int(row[0]), f"{float(row[4]):.5g}") for row in curve(whole)[1:]]


def test_a_terminal_sees_terms_figures_and_speed():
    console = Console(force_terminal=True, width=100, record=True, file=open(os.devnull, "w"))
    row = {"step": 3, "fit": 0.25, "f1": 0.5, "AU12:f1": 0.75, "same": 0.9}
    with Display(10, console=console) as display:
        display.learned(3, {"fit": 0.25}, {"pictures_per_second": 88.0, "minutes_left": 120.0, "memory_gb": 1.5})
        display.validated(row, best=True)
    text = console.export_text()
    for words in ("fit", "0.25", "f1", "0.5", "same", "3/10", "88 pictures/s", "2.0 h left"):
        assert words in text
    assert "AU12" not in text


def test_elsewhere_it_is_a_line_for_each_validation(whole, capsys):
    train(Line(), settings_of(steps=20), whole.parent / "lines", shown=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("step 10 fit ") and "(best)" in lines[0] and "left" in lines[0]


# -- recipes ---------------------------------------------------------------------------------


def test_recipes_are_read_and_changed(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('task = "au"\nrenders = "r"\n[loop]\nsteps = 10\n')
    recipe = read_recipe(file, ("loop.steps=20", "model.width=8", "renders=elsewhere", "loop.lr=1",
                                "data.names=['AU12']"))
    assert recipe.loop.steps == 20 and recipe.model == {"width": 8} and recipe.renders.name == "elsewhere"
    assert recipe.loop.lr == 1.0 and recipe.data.names == ("AU12",)


@pytest.mark.parametrize("text, line", [
    ("speed = 3", "unknown setting 'speed'; known are"),
    ("[loop]\nspeed = 3", r"\[loop\]: unknown setting 'speed'"),
    ('[loop]\nsteps = "many"', "steps is 'many', expected a whole number"),
    ("[loop]\nsteps = true", "steps is True, expected a whole number"),
    ("[loop]\nsteps = 0", "loop.steps is 0, expected more than 0"),
    ("[loop]\nema = 1.0", "loop.ema is 1.0"),
    ('[loop]\nprecision = "int8"', "precision is 'int8', choose float32 or bfloat16 or float16"),
    ("loop = 3", "loop is 3, expected a table"),
    ("[data]\nnames = 3", "names is 3, expected a list"),
    ("[method]\nconfidence = 0.3", "method.confidence is 0.3"),
    ("renders = 3", "renders is 3, expected a path"),
    ("steps 10", "is no TOML: "),
])
def test_a_wrong_setting_is_named_in_a_line(tmp_path, text, line):
    file = tmp_path / "r.toml"
    file.write_text(f'task = "au"\n{text}\n')
    with pytest.raises((UsageError, InputError), match=line) as caught:
        read_recipe(file)
    assert "\n" not in str(caught.value)


def test_a_missing_task_and_a_missing_file_are_named(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text("")
    with pytest.raises(UsageError, match="'task' is missing"):
        read_recipe(file)
    with pytest.raises(InputError, match="can't be read: No such file"):
        read_recipe(tmp_path / "none.toml")
    file.write_text('task = "au"')
    with pytest.raises(UsageError, match="is no change: write key=value"):
        read_recipe(file, ("loop.steps",))


def test_saving_keeps_what_a_checkpoint_says(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {"x": torch.arange(3)}, {"loop": {"lr": 0.1}})
    assert torch.equal(load_checkpoint(tmp_path / "a.pt", {"loop": {"lr": 0.1}})["x"], torch.arange(3))
