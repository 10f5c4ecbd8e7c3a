"""Several processes learn what one learns: torchrun with two gloo processes on the CPU against a single one."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from line import Line, settings_of
from torch import nn
from torch.distributed.run import parse_args

from rtau.cli import main
from rtau.errors import UsageError
from rtau_train.batches import Batch, Feed, Share
from rtau_train.checkpoint import load_checkpoint
from rtau_train.distributed import Team, choose_device, join_team, share_norms
from rtau_train.learner import Learner
from rtau_train.loop import TrainingError, train

HERE = Path(__file__).parent


def torchrun(*words, processes=2, cwd=None):
    """Run a Python program in several processes; its standard output and error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
         *map(str, words)], env=environment, capture_output=True, text=True, timeout=120, cwd=cwd)
    return done.returncode, done.stdout + done.stderr


def rows(folder):
    header, *lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    return np.array([[float(v) for v in line[:6]] for line in lines]), header[:6]


def weights(folder, which="model"):
    return load_checkpoint(folder / "last.pt")[which]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two processes with four rows each of a batch of eight: batch norm, dropout, and unevenly many known labels."""
    folder = tmp_path_factory.mktemp("together")
    code, said = torchrun(HERE / "line.py", folder, "task.norm=1", "steps=40")
    assert code == 0, said
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train(Line(norm=True), settings_of(steps=40), folder)
    return folder


def test_known_labels_differ_between_the_processes():
    counts = [[Line().batch(Share(0, step, piece, 2)).weights["fit"] for piece in (0, 1)] for step in range(40)]
    assert sum(a != b for a, b in counts) > 20


def test_two_processes_learn_what_one_learns(together, alone):
    (found, names), (expected, _) = rows(together), rows(alone)
    assert names == ["step", "fit", "small", "loss", "error", "score"] and found.shape == expected.shape == (4, 6)
    assert np.allclose(found, expected, rtol=1e-4)
    for which in ("model", "averaged"):
        a, b = weights(together, which), weights(alone, which)
        assert a.keys() == b.keys()
        for name in a:
            assert torch.allclose(a[name].double(), b[name].double(), rtol=1e-4, atol=1e-5), name


def test_running_statistics_are_those_of_the_whole_batch(together, alone):
    for name in ("2.running_mean", "2.running_var", "2.num_batches_tracked"):
        assert torch.allclose(weights(together)[name].double(), weights(alone)[name].double(), rtol=1e-4, atol=1e-6)


def test_a_run_of_two_processes_is_written_once(together):
    assert json.loads((together / "environment.json").read_text())["processes"] == 2
    assert (together / "log.txt").read_text().count("step 40 ") == 1


def test_one_process_goes_on_with_what_two_began(together, alone):
    """Also that the number of processes is no setting that a checkpoint must agree in."""
    assert train(Line(norm=True), settings_of(steps=40), together)["step"] == 40


def test_means_of_each_process_would_be_wrong():
    """What the division by the whole batch's counts is for: two halves with 1 and 4 known labels."""
    tensors = {"x": torch.randn(8, 3), "y": torch.randn(8)}
    known = torch.tensor([1, 0, 0, 0, 1, 1, 1, 1]).bool()

    def gradient(*masks):
        task = Line(dropout=0.0)
        learner = Learner(task, settings_of(clip=1e9), Team(), torch.device("cpu"))
        pieces = [Batch({k: v[m] for k, v in tensors.items()} | {"known": known[m]},
                        {"fit": float(known[m].sum()), "small": float(m.sum())}) for m in masks]
        learner.learn(0, pieces)
        return torch.cat([p.grad.flatten() for p in learner.model.parameters()])

    first = torch.arange(8) < 4
    whole = gradient(torch.ones(8).bool())
    assert torch.allclose(gradient(first, ~first), whole, atol=1e-6)
    assert not torch.allclose((gradient(first) + gradient(~first)) / 2, whole, atol=1e-2)


def member(rank, port, work, answers):
    """One of two processes: joins the other and answers with what its work gives."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))
    with join_team("cpu") as (team, device):
        answers.put((rank, work(team, device)))


def in_two(work):
    """What `work(team, device)` gives in each of two processes."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    runs = [context.Process(target=member, args=(rank, port, work, answers)) for rank in (0, 1)]
    for run in runs:
        run.start()
    said = dict(answers.get() for _ in runs)
    for run in runs:
        run.join(30)
    assert [run.exitcode for run in runs] == [0, 0]
    return [said[0], said[1]]


def gradients(team, device, *, norm=True, **settings):
    """Of one step, by name; as lists, since they travel between processes."""
    task = Line(dropout=0.0, norm=norm)
    learner = Learner(task, settings_of(clip=1e9, **settings), team, device)
    learner.learn(12, Feed(task.batch, 0, team.rank, team.size, learner.settings.accumulate).at(12))
    return {name: p.grad.tolist() for name, p in learner.model.named_parameters()}


@pytest.mark.parametrize("options", [{"norm": True}, {"norm": False, "accumulate": 2}])
def test_gradients_are_those_of_the_whole_batch(options):
    """Adam hides a factor that all gradients share, so they are compared themselves."""
    expected = gradients(Team(), torch.device("cpu"), norm=options["norm"])
    for found in in_two(lambda team, device: gradients(team, device, **options)):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert np.allclose(found[name], value, rtol=1e-4, atol=1e-6), name


def test_a_loss_that_is_no_number_in_one_process_ends_both_and_names_the_whole_batch(tmp_path):
    class Breaks(Line):
        def loss(self, model, batch):
            terms = super().loss(model, batch)
            return terms | {"fit": terms["fit"] * float("nan")} if "point 12.7" in batch.sources else terms

    def work(team, device):
        with pytest.raises(TrainingError) as caught:
            train(Breaks(), settings_of(), tmp_path, team=team, device=device)
        return str(caught.value)

    first, second = in_two(work)
    assert "no number at step 12" in first and "no number" in second
    assert json.loads((tmp_path / "nan-000012.json").read_text())["faces"] == [f"point 12.{row}" for row in range(8)]
    assert load_checkpoint(tmp_path / "last.pt")["progress"]["step"] == 10


def test_torchrun_leaves_the_commands_options_alone():
    """It takes every beginning of its own options for them: --run would be --run-path."""
    words = ["train", "r.toml", "loop.lr=1"]
    for option in next(c for c in main.commands.values() if c.name == "train").params:
        longest = max(option.opts, key=len)
        words += [longest] if longest.startswith("--") else []
    assert "--run-dir" in words and len(words) > 10
    assert parse_args(["--standalone", "-m", "rtau", *words]).training_script_args == words


@pytest.mark.parametrize("file", ["train/README.md", "train/rtau_train/loop.py", "train/rtau_train/commands/train.py"])
def test_torchrun_takes_the_commands_that_are_told(file):
    told = [line.strip() for line in (HERE.parents[1] / file).read_text().splitlines() if line.strip().startswith("torchrun ")]
    assert told
    for line in told:
        words = line.split()[1:]
        assert parse_args(words).training_script_args == words[words.index("rtau") + 1:]


def test_one_process_is_a_team_of_its_own():
    with join_team("cpu") as (team, device):
        assert (team.rank, team.size, device.type) == (0, 1, "cpu")
        assert team.add([1.5, 2]) == [1.5, 2] and team.tell("a") == "a" and team.gather("a") == ["a"]


@pytest.mark.parametrize("name, line", [("gpu", "unknown device 'gpu'"), ("mps", "unknown device 'mps'"),
                                        ("cuda:99", "no NVIDIA GPU|no GPU 99")])
def test_a_device_that_is_not_there_is_named(name, line):
    with pytest.raises(UsageError, match=line):
        choose_device(name)


def test_shared_norms_keep_their_weights_and_are_plain_in_evaluation():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))
    x, before = torch.randn(2, 3, 5, 5), dict(net.named_parameters())
    plain = net.eval()(x)
    shared = share_norms(net, torch.device("cpu"))
    assert all(p is before[name] for name, p in shared.named_parameters())
    assert torch.equal(shared.eval()(x), plain)
