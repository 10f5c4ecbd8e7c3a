"""Lab Streaming Layer: an outlet with one channel per number, for recording beside EEG and the like.

One outlet tells one face: the largest when none is followed, and then that one until it has gone. The channels are
named as in the table, and the stream's description lists them with their units:

| channel | unit | |
|---|---|---|
| `frame`, `time` | count, seconds | of the source |
| `face_id` | | -1 without a face |
| `success` | boolean | 1 with a face, 0 without |
| `confidence`, `quality` | normalized | 0..1 |
| `pose_Rx`, `pose_Ry`, `pose_Rz` | radians | pitch, yaw, roll |
| `AU01_r` ... | intensity | 0..5 |
| `AU01_c` ... | boolean | present, 0 or 1 |
| `AU01_p` ... | probability | 0..1 |

Attributes have channels such as `Smiling_c` and `Smiling_p`, and no intensity.

What can't be told is NaN. Samples are float64 and come at an irregular rate, one per frame. Their time stamps are on
LSL's clock: for a live source when the frame arrived there, not when its result was ready. For a file that is
processed, which has no such moment: LSL's clock at the first frame plus the frame's time.

LSL announces outlets to the whole local network and takes no other address; its own settings (`lsl_api.cfg`) can
keep them on this machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import __version__
from ..au import Label
from ..errors import OutputError, UsageError
from ..tables.layout import au_columns
from .mailbox import StreamSink
from .message import Moment, by_size

_BASE = (("frame", "count"), ("time", "seconds"), ("face_id", ""), ("success", "boolean"), ("confidence", "normalized"),
         ("quality", "normalized"), ("pose_Rx", "radians"), ("pose_Ry", "radians"), ("pose_Rz", "radians"))
_KINDS = {"r": "intensity", "c": "boolean", "p": "probability"}
#: Where liblsl looks for its settings.
_SETTINGS = (Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg"))


def channel_names(aus: tuple[Label, ...]) -> list[str]:
    """The names of the channels, in order."""
    return [name for name, _ in _channels(aus)]


class LslSink(StreamSink):
    """An LSL outlet of type "AU", one sample per frame.

    Args:
        name: of the stream, by which others find it.
        aus: the AUs to tell; each must be among those of the scores.
        live: see `StreamSink`.

    Raises:
        UsageError: pylsl is not installed, or finds no liblsl.
        OutputError: on entering: the outlet can't be made.
    """

    def __init__(self, name: str, aus: tuple[Label, ...], *, live: bool = True) -> None:
        super().__init__(f"lsl:{name}", live=live)
        self.name, self.aus = name, tuple(aus)
        self._graded = [not isinstance(au, str) for au in self.aus]
        self._pylsl = _import_pylsl()
        self._outlet: Any = None
        self._followed: int | None = None
        self._start: float | None = None
        self._file: str | None = None
        self._last = 0.0

    def _open(self) -> None:
        channels = _channels(self.aus)
        lsl = self._pylsl
        try:
            # An id of the source lets recorders find it again after a restart.
            info = lsl.StreamInfo(self.name, "AU", len(channels), lsl.IRREGULAR_RATE, lsl.cf_double64,
                                  f"rtau:{self.name}")
            info.set_channel_labels([name for name, _ in channels])
            info.set_channel_units([unit or "none" for _, unit in channels])
            info.set_channel_types(["face"] * len(_BASE) + ["AU"] * (len(channels) - len(_BASE)))
            info.desc().append_child_value("manufacturer", "rtau").append_child_value("version", __version__)
            self._outlet = lsl.StreamOutlet(info)
        except (RuntimeError, OSError, ValueError) as error:
            raise OutputError(f"the LSL stream {self.name} can't be opened: {error}") from error

    def _send(self, moment: Moment) -> bool:
        self._outlet.push_sample(self._sample(moment), self._stamp(moment))
        return True

    def _close(self) -> None:
        self._outlet = None

    def _sample(self, moment: Moment) -> list[float]:
        scores = moment.scores
        if not len(scores):
            self._followed = None
            return [moment.index, moment.time, -1, 0, 0, *[float("nan")] * (len(_channels(self.aus)) - 5)]
        ids = scores.faces.ids.tolist()
        row = ids.index(self._followed) if self._followed in ids else int(by_size(scores)[0])
        self._followed = ids[row]
        if scores.aus != self.aus:
            scores = scores.select(self.aus)
        known = scores.assessable[row] & np.isfinite(scores.presence[row])
        aus = [np.where(known, values[row].astype(np.float64), np.nan)
               for values in (scores.intensity, scores.present, scores.presence)]
        aus[0] = aus[0][self._graded]
        yaw, pitch, roll = scores.faces.pose[row].tolist()
        return [moment.index, moment.time, self._followed, 1, float(scores.faces.scores[row]),
                float(scores.quality[row]), pitch, yaw, roll, *np.concatenate(aus).tolist()]

    def _stamp(self, moment: Moment) -> float:
        """Seconds on LSL's clock; never before the one before."""
        now = self._pylsl.local_clock()
        if moment.captured is not None:
            stamp = now - (time.time() - moment.captured)
        else:
            if self._start is None or self._file != moment.input:
                self._start, self._file = max(now, self._last) - moment.time, moment.input
            stamp = self._start + moment.time
        self._last = max(stamp, self._last)
        return self._last


def _channels(aus: tuple[Label, ...]) -> list[tuple[str, str]]:
    """Name and unit of each."""
    return [*_BASE, *((name, unit) for kind, unit in _KINDS.items() for name in au_columns(aus, kind))]


def _import_pylsl() -> ModuleType:
    try:
        import pylsl
    except (ImportError, RuntimeError, OSError) as error:  # pylsl raises RuntimeError where it finds no liblsl
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else (
            f"can't be loaded ({' '.join(str(error).split())[:200]})")
        raise UsageError(f"LSL needs pylsl, which {why}: pip install 'rtau[lsl]'") from error
    # liblsl tells of itself on standard error, which a display in the terminal would suffer from. Its own settings
    # win, where there are any.
    if "LSLAPICFG" not in os.environ and not any(path.exists() for path in _SETTINGS):
        with contextlib.suppress(AttributeError, NotImplementedError):  # an older one can't, and is merely noisy
            pylsl.set_config_content("[log]\nlevel = -2\n")
    return pylsl
