"""A training that goes on with another number of processes, on one machine or two, and what a lost process does."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from crew import SETTINGS, Crew
from stand_in import make_some
from test_distributed import in_two
from torch import nn

from rtau_train.batches import Batch, Feed
from rtau_train.checkpoint import load_checkpoint
from rtau_train.distributed import Team
from rtau_train.dropout import RowDropout, salt_of, share_dropout
from rtau_train.learner import Learner
from rtau_train.loop import train

HERE = Path(__file__).parent
STEPS = SETTINGS["loop"]["steps"]


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def start(words, *, machines=1, processes=1, cwd=None):
    """The launchers of a training, one for each machine, as they are started on each."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    port = free_port()
    return [subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(machines), "--node-rank", str(number),
         "--nproc-per-node", str(processes), "--master-addr", "127.0.0.1", "--master-port", str(port),
         *map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd)
        for number in range(machines)]


def finish(launchers, timeout=240):
    """Exit codes and what was said; nothing is left behind."""
    try:
        said = [launcher.communicate(timeout=timeout)[0] for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.kill()
    return [launcher.returncode for launcher in launchers], "\n".join(said)


def names(log):
    """What was learned from at each step: number in the step's batch and name, in order."""
    lines = sorted(line for file in log.glob("names-*") for line in file.read_text().splitlines())
    return [[line for line in lines if line.startswith(f"{step:03d} ")] for step in range(STEPS)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """One process that nothing stops: the run's folder, and what it learned from."""
    folder, log = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("log")
    task = Crew(log)
    train(task, task.recipe.loop, folder)
    return folder, names(log)


def assert_learned_the_same(folder, undisturbed):
    """Up to the order in which numbers are added."""
    ours, theirs = (load_checkpoint(place / "last.pt") for place in (folder, undisturbed))
    assert ours["progress"]["step"] == theirs["progress"]["step"] == STEPS
    for which in ("model", "averaged"):
        for name, value in theirs[which].items():
            found = ours[which][name]
            assert torch.allclose(found.double(), value.double(), rtol=2e-3, atol=2e-4), \
                (which, name, (found.double() - value.double()).abs().max())


def test_a_run_goes_on_with_other_numbers_of_processes_as_if_nothing_had_been(undisturbed, tmp_path):
    """One process, then three, then two machines with one each; each before the last is stopped in the middle."""
    folder, log = tmp_path / "run", tmp_path / "log"
    log.mkdir()
    done = subprocess.run([sys.executable, HERE / "crew.py", folder, log, "4"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=240)
    assert done.stdout == "stopped\n", done.stderr
    assert load_checkpoint(folder / "last.pt")["progress"]["step"] == 5
    codes, said = finish(start([HERE / "crew.py", folder, log, 10], processes=3))
    assert codes == [0] and said.count("stopped") == 3, said
    assert load_checkpoint(folder / "last.pt")["progress"]["step"] == 11
    codes, said = finish(start([HERE / "crew.py", folder, log], machines=2))
    assert codes == [0, 0], said
    whole, order = undisturbed
    assert names(log) == order
    assert all(len(step) == 13 + 7 for step in order) and order[0] != order[1]
    assert_learned_the_same(folder, whole)
    rows = [line.split(",")[0] for line in (folder / "metrics.csv").read_text().splitlines()]
    assert rows == ["step", "6", "12", "18"]


def wait_for(what, launchers, seconds=200):
    for _ in range(seconds * 20):
        if (found := what()) or any(launcher.poll() is not None for launcher in launchers):
            return found
        time.sleep(0.05)
    return None


def test_a_killed_process_ends_all_in_a_line_and_the_same_command_goes_on(tmp_path):
    """Two machines; the process on the second dies by SIGKILL between two checkpoints."""
    make_some(tmp_path / "renders", count=24)
    (tmp_path / "r.toml").write_text(
        'task = "au"\nrenders = "renders"\n[model]\nsize = 32\nwidth = 8\nfeatures = 16\n'
        '[loop]\nbatch = 6\nevaluate_every = 60\ncheckpoint_every = 2\nwarmup = 5\nsteps = 120\n')
    words = ["-m", "rtau", "train", "r.toml", "--run-dir", "run", "--no-progress"]
    launchers = start(words, machines=2, cwd=tmp_path)
    try:
        assert wait_for((tmp_path / "run" / "last.pt").exists, launchers), finish(launchers, timeout=60)[1]
        second, = map(int, Path(f"/proc/{launchers[1].pid}/task/{launchers[1].pid}/children").read_text().split())
        os.kill(second, signal.SIGKILL)
        codes, said = finish(launchers, timeout=120)
    finally:
        for launcher in launchers:
            with contextlib.suppress(OSError):
                launcher.kill()
    assert all(codes)
    told = [line for line in said.splitlines() if " stops: " in line]
    assert len(told) == 1 and "process 0 of 2 stops: another has gone" in told[0] and "same command" in told[0], said
    step = load_checkpoint(tmp_path / "run" / "last.pt")["progress"]["step"]
    assert 2 <= step < 120
    again = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=240,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert again.returncode == 0 and f"continues at step {step} of 120" in again.stderr, again.stderr
    assert load_checkpoint(tmp_path / "run" / "last.pt")["progress"]["step"] == 120


def one_step(team, device, log):
    """Gradients of a step, by name, and the terms of its loss; as lists, since they travel between processes."""
    task = Crew(log)
    learner = Learner(task, replace(task.recipe.loop, clip=1e9), team, device)
    terms = learner.learn(12, Feed(task.batch, 0, team.rank, team.size).at(12))
    return {name: p.grad.flatten().tolist() for name, p in learner.model.named_parameters()} | {
        "terms": list(terms.values())}


def test_one_step_of_the_method_is_the_same_in_two_processes(tmp_path):
    """Both views, all terms, dropout and batch norm, before Adam makes much of little."""
    expected = one_step(Team(), torch.device("cpu"), tmp_path)
    for found in in_two(lambda team, device: one_step(team, device, tmp_path)):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert np.allclose(found[name], value, rtol=1e-4, atol=1e-5 * np.abs(value).max()), name


# -- chance --------------------------------------------------------------------------------------


def dropped(rows, salt=7, columns=400, p=0.3):
    layer = RowDropout(p).train()
    layer.rows, layer.salt = rows, salt
    return layer(torch.ones(len(rows), columns))


def test_what_is_dropped_depends_on_the_row_and_the_salt_alone():
    whole = dropped(range(64))
    assert torch.equal(torch.cat([dropped(range(10)), dropped(range(10, 64))]), whole)
    assert torch.equal(dropped([5, 3]), whole[[5, 3]])
    assert whole.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert not torch.equal(dropped(range(64), salt=8), whole)
    assert len({salt_of(*numbers) for numbers in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (0, 1), (3,))}) == 5


def test_it_drops_as_often_as_it_should_and_evenly():
    for p in (0.1, 0.3, 0.5):
        gone = (dropped(range(300), salt=salt_of(3), p=p) == 0).double()
        assert gone.mean().item() == pytest.approx(p, abs=0.005)
        # Rows, columns and neighbours are strangers to each other.
        for means in (gone.mean(0), gone.mean(1)):
            assert means.std().item() == pytest.approx((p * (1 - p) / 350) ** 0.5, rel=0.25)
        for one, other in ((gone[:-1], gone[1:]), (gone[:, :-1], gone[:, 1:])):
            assert (one * other).mean().item() == pytest.approx(p * p, abs=0.006)


def test_outside_training_it_does_nothing():
    layer = share_dropout(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)))[0].eval()
    assert torch.equal(layer(torch.ones(2, 5)), torch.ones(2, 5))


def test_a_batch_that_does_not_name_its_rows_is_no_batch_for_dropout(tmp_path):
    task = Crew(tmp_path)
    learner = Learner(task, task.recipe.loop, Team(), torch.device("cpu"))
    batch, = Feed(task.batch, 0).at(0)
    with pytest.raises(ValueError, match="must name the rows"):
        learner.learn(0, [Batch(batch.tensors, batch.weights)])


@pytest.mark.parametrize("size", [2, 3, 5])
def test_pieces_of_a_batch_hold_what_the_whole_holds(tmp_path, size):
    """Pictures as they are altered, labels, places and order, whatever the number of processes and workers."""
    task = Crew(tmp_path)
    for step in (0, 40):
        whole, = Feed(task.batch, 0).at(step)
        pieces = [Feed(task.batch, 0, rank, size).at(step)[0] for rank in range(size)]
        place = {row: number for number, row in enumerate(whole.rows)}
        assert sorted(row for piece in pieces for row in piece.rows) == sorted(place)
        for piece in pieces:
            chosen = [place[row] for row in piece.rows]
            assert piece.sources == tuple(np.array(whole.sources)[chosen])
            for name, value in piece.tensors.items():
                assert torch.equal(torch.nan_to_num(value), torch.nan_to_num(whole[name][chosen])), name
