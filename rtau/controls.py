"""What keys do while a camera is watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .analyze import Analyzer
from .au import are_attributes
from .pipeline import Run
from .sinks import TerminalSink
from .sinks.recorder import RecorderSink

#: Seconds for which a face is watched when one presses c.
REST_SECONDS = 3.0
#: Factor of one step of smoothing, and the limits of all steps.
_STEP, _LEAST, _MOST = 1.5, 0.2, 20.0


@dataclass(frozen=True)
class _Key:
    """One key: what it is called, what it does, in words and in deed; and in a word, for the hint."""

    key: str
    label: str
    words: str
    do: Callable[[], object]
    hint: str = ""


class Controls:
    """Keys of `rtau live`.

    Args:
        run, analyzer, terminal, recorder: what they act on.
    """

    def __init__(self, run: Run, analyzer: Analyzer, terminal: TerminalSink, recorder: RecorderSink) -> None:
        self._run, self._analyzer, self._terminal, self._recorder = run, analyzer, terminal, recorder
        # Attributes have no resting state.
        rest = () if are_attributes(analyzer.aus) else (
            _Key("c", "c", f"watch your face at rest for {REST_SECONDS:g} s, and take off what it shows",
                 self._calibrate, "calibrate"),
            _Key("u", "u", "use no resting face any more", analyzer.calibrator.forget))
        self._keys = (
            _Key("q", "q", "end the run", run.stop, "quit"),
            _Key(" ", "space", "pause, and go on", self._pause, "pause"),
            *rest,
            _Key("s", "s", "write a picture into this folder", recorder.snapshot, "snapshot"),
            _Key("r", "r", "record a video into this folder, and end it", recorder.toggle, "record"),
            _Key("+", "+", "smooth more", lambda: self._smooth(1 / _STEP)),
            _Key("-", "-", "smooth less", lambda: self._smooth(_STEP)),
            _Key("f", "f", "show one face after the other, then all", terminal.choose_next, "face"),
            _Key("?", "?", "show this, and the scores again", self._help, "all keys"))
        self._said = ""

    @property
    def hint(self) -> str:
        """The keys in one line."""
        return "  ".join(f"{key.label} {key.hint}" for key in self._keys if key.hint)

    def press(self, key: str) -> None:
        """Do what a key asks for; nothing for others. From any thread."""
        for one in self._keys:
            if one.key == key or (key == "=" and one.key == "+") or (key.isalpha() and one.key == key.lower()):
                one.do()
                self._terminal.draw()

    def note(self) -> str:
        """What is going on, in a few words; "" for nothing special."""
        calibrator, recorder = self._analyzer.calibrator, self._recorder
        words = []
        if self._run.paused:
            words.append("paused")
        if (silent := self._run.silent) is not None:
            words.append(f"no picture for {silent:.0f} s")
        if calibrator.left is not None:
            words.append(f"keep a relaxed face: {calibrator.left:.0f} s")
        elif calibrator.problem:
            # The rest of it is said at the end.
            words.append(f"not calibrated, {calibrator.problem.partition(':')[0]}")
        elif calibrator.profile is not None:
            words.append("calibrated")
        if recorder.problem:
            words.append(recorder.problem.partition(":")[0])
        elif recorder.recording:
            words.append("recording")
        if self._analyzer.smoothing != 1:
            words.append(f"smoothing x{1 / self._analyzer.smoothing:.1f}")
        return ", ".join(words)

    def _pause(self) -> None:
        self._run.paused = not self._run.paused

    def _calibrate(self) -> None:
        self._analyzer.calibrator.watch(REST_SECONDS)

    def _smooth(self, factor: float) -> None:
        self._analyzer.smoothing = min(max(self._analyzer.smoothing * factor, _LEAST), _MOST)

    def _help(self) -> None:
        shown = self._terminal.help is None
        self._terminal.help = ["", *(f"  {key.label:>5}   {key.words}" for key in self._keys), "", "  Ctrl-C ends too"
                               ] if shown else None
