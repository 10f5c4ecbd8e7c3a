"""Lab Streaming Layer: a real inlet on this machine, and what is said where pylsl is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from streaming import STATUS, make_frame, make_scores, wait_until

from rtau.au import AUS
from rtau.cli import main
from rtau.errors import UsageError
from rtau.streams import open_stream
from rtau.streams.lsl import channel_names
from rtau.types import Scores

#: LSL looks for streams on the whole network unless its settings say otherwise.
SETTINGS = """[multicast]
ResolveScope = machine
[lab]
KnownPeers = {127.0.0.1}
[log]
level = -3
"""


@pytest.fixture(scope="module")
def lsl(tmp_path_factory):
    """pylsl, kept on this machine."""
    settings = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    settings.write_text(SETTINGS)
    patch = pytest.MonkeyPatch()
    patch.setenv("LSLAPICFG", str(settings))
    yield pytest.importorskip("pylsl", reason="pylsl is not installed: pip install 'rtau[lsl]'", exc_type=ImportError)
    patch.undo()


@pytest.fixture
def name(request) -> str:
    """A name of its own for each test's stream."""
    return f"rtau-{os.getpid()}-{request.node.name}"


def open_inlet(lsl, name: str):
    (found,) = lsl.resolve_byprop("name", name, 1, 20)
    inlet = lsl.StreamInlet(found)
    inlet.open_stream(20)
    return inlet


def pull(inlet) -> tuple[dict[str, float], float]:
    sample, stamp = inlet.pull_sample(20)
    assert sample is not None, "no sample came"
    return dict(zip(channel_names(AUS), sample, strict=True)), stamp


def test_the_description_labels_every_channel(lsl, name) -> None:
    with open_stream(f"lsl:{name}", AUS):
        inlet = open_inlet(lsl, name)
        info = inlet.info(20)
        inlet.close_stream()
    assert info.type() == "AU" and info.nominal_srate() == lsl.IRREGULAR_RATE
    assert info.channel_format() == lsl.cf_double64
    labels, units = info.get_channel_labels(), info.get_channel_units()
    assert labels == channel_names(AUS) and len(units) == info.channel_count() == 9 + 3 * len(AUS)
    assert dict(zip(labels, units, strict=True))["AU12_r"] == "intensity"
    assert info.desc().child_value("manufacturer") == "rtau"


def test_samples_are_the_scores_on_lsls_clock(lsl, name) -> None:
    with open_stream(f"lsl:{name}", AUS) as sink:
        inlet = open_inlet(lsl, name)
        wait_until(lambda: sink._outlet.have_consumers())
        captured, then = time.monotonic() - 0.25, lsl.local_clock() - 0.25
        sink.write(make_frame(7, captured=captured), make_scores(1), STATUS)
        sample, stamp = pull(inlet)
        inlet.close_stream()
    assert stamp == pytest.approx(then, abs=0.2) and stamp < then + 0.24, "when it was captured, not when it was ready"
    assert sample["frame"] == 7 and sample["time"] == pytest.approx(7 / 25) and sample["success"] == 1
    assert sample["AU12_r"] == pytest.approx(3.2) and sample["AU12_p"] == pytest.approx(0.64) and sample["AU12_c"] == 1
    assert all(np.isnan(sample[f"AU04_{kind}"]) for kind in "rcp")
    assert [sample[f"pose_R{axis}"] for axis in "xyz"] == pytest.approx([-0.2, 0.1, 0.3])


def test_one_face_is_followed_until_it_has_gone(lsl, name) -> None:
    frames = [make_scores(1, ids=[3]), make_scores(2, ids=[3, 4]), make_scores(2, ids=[4, 5]), Scores.none(AUS),
              make_scores(3, ids=[6, 7, 8])]
    with open_stream(f"lsl:{name}", AUS) as sink:
        inlet = open_inlet(lsl, name)
        wait_until(lambda: sink._outlet.have_consumers())
        samples = []
        for i, scores in enumerate(frames):
            sink.write(make_frame(i), scores, STATUS)
            samples.append(pull(inlet)[0])
        inlet.close_stream()
    # 4 is larger than 3 but comes later; when 3 has gone, the largest is 5.
    assert [sample["face_id"] for sample in samples] == [3, 3, 5, -1, 8]
    empty = samples[3]
    assert empty["success"] == 0 and empty["confidence"] == 0
    assert np.isnan(empty["AU12_r"]) and np.isnan(empty["pose_Rx"])


def test_a_files_time_stamps_are_as_far_apart_as_its_frames(lsl, name) -> None:
    with open_stream(f"lsl:{name}", AUS, live=False) as sink:
        inlet = open_inlet(lsl, name)
        wait_until(lambda: sink._outlet.have_consumers())
        for i in range(20):
            sink.write(make_frame(i, name="a.mp4"), make_scores(1), STATUS)
        for i in range(5):
            sink.write(make_frame(i, name="b.mp4"), make_scores(1), STATUS)
        stamps = np.array([pull(inlet)[1] for _ in range(25)])
        inlet.close_stream()
    assert np.allclose(np.diff(stamps[:20]), 1 / 25, atol=1e-6) and (np.diff(stamps) >= 0).all()


def test_nobody_listening_is_no_error(lsl, name) -> None:
    with open_stream(f"lsl:{name}", (12,)) as sink:
        for i in range(100):
            sink.write(make_frame(i), make_scores(1), STATUS)
    assert sink.sent + sink.dropped == 100


def test_without_pylsl_one_line_says_what_to_install(monkeypatch, sample, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(UsageError, match=r"pip install 'rtau\[lsl\]'"):
        open_stream("lsl:rtau", AUS)
    words = ["process", str(sample), "--out", str(tmp_path / "o.csv"), "--stream", "lsl:rtau"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2 and "rtau[lsl]" in result.stderr and len(result.stderr.splitlines()) == 1


def test_pylsl_is_not_imported_before_it_is_asked_for(tmp_path: Path) -> None:
    code = ("import rtau.streams, rtau.watch, rtau.process, sys;"
            "print('pylsl' in sys.modules, 'websockets' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120,
                          check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    assert done.stdout.split() == ["False", "False"], done.stderr
