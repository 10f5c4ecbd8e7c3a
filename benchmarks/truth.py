"""rtau against clips whose every frame is known: intensity, timing, steadiness, landmarks, pose.

    python benchmarks/truth.py clip.mp4 [more.mp4 ...] [--smooth one-euro|off]

A clip is a video with its truth beside it (`clip.mp4.csv`), as `rtau data clip` makes it. It is read as
`rtau process` reads it. Several clips count as one long one. Prints one table, a row per AU:

    n       frames in which the AU is known          MAE, ICC  of the intensity 0..5, ICC(3,1)
    F1, AUC of its presence                          onsets    found / there: intensity rising through 2
    onset   their median delay, ms (spread)          jitter    deviation of the output while the truth is constant
    raw, smooth   delay of the whole curve, ms, by cross-correlation, before and after smoothing
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtau.errors import InputError
from rtau_train.evaluate import auc, f1, icc31

#: Intensity whose crossing is an onset, and how far it must fall below before the next one counts.
ONSET, REARM = 2.0, 0.5
#: An onset of the output belongs to one of the truth this much earlier or later, seconds.
EARLY, LATE = 0.3, 0.7
#: The truth is constant while it stays within this (intensity) for so long; the output may settle first. Seconds.
STEADY, STEADY_SECONDS, SETTLE = 0.1, 0.3, 0.4
#: Largest delay looked for, seconds, its step, and the least correlation that counts.
LONGEST_DELAY, DELAY_STEP, LEAST_CORRELATION = 0.5, 0.001, 0.4
_APART = 10.0  # seconds between the clips of one table


# -- measures --------------------------------------------------------------------------------


def crossings(times: np.ndarray, values: np.ndarray, level: float = ONSET, rearm: float = REARM) -> np.ndarray:
    """Times at which a curve rises through `level`, straight between its points.

    Args:
        times, values: [N]; NaN values are passed over where the curve is known on both sides within 0.2 s.
        rearm: it counts again only after the curve was below `level - rearm`.

    Returns:
        float64 [K], seconds.
    """
    known = ~np.isnan(values)
    t, v = np.asarray(times)[known], np.asarray(values)[known]
    found, ready = [], len(v) > 0 and v[0] < level
    for i in range(1, len(v)):
        if t[i] - t[i - 1] > 0.2:
            ready = v[i] < level
        elif ready and v[i] >= level:
            found.append(t[i - 1] + (level - v[i - 1]) / (v[i] - v[i - 1]) * (t[i] - t[i - 1]))
            ready = False
        elif v[i] < level - rearm:
            ready = True
    return np.array(found)


def match(truth: np.ndarray, output: np.ndarray, early: float = EARLY, late: float = LATE) -> np.ndarray:
    """Delays [M] of the output's events after the truth's, each used once, nearest pairs first; M <= both counts."""
    delays = np.asarray(output)[None] - np.asarray(truth)[:, None]
    pairs = sorted((abs(delays[i, j]), i, j) for i, j in np.ndindex(delays.shape) if -early <= delays[i, j] <= late)
    used_truth: set[int] = set()
    used_output: set[int] = set()
    matched = []
    for _, i, j in pairs:
        if i not in used_truth and j not in used_output:
            used_truth.add(i)
            used_output.add(j)
            matched.append((i, delays[i, j]))
    return np.array([delay for _, delay in sorted(matched)])


def steady_spans(times: np.ndarray, values: np.ndarray) -> list[slice]:
    """Where a curve stays constant (within `STEADY`) for long enough, from `SETTLE` seconds after it began to."""
    spans: list[slice] = []

    def close(start: int, end: int) -> None:
        if start < end:
            first = int(np.searchsorted(times, times[start] + SETTLE))
            if first < end and times[end - 1] - times[first] >= STEADY_SECONDS:
                spans.append(slice(first, end))

    start, low, high = 0, np.inf, -np.inf
    for i, value in enumerate(values):
        if np.isnan(value):
            close(start, i)
            start, low, high = i + 1, np.inf, -np.inf
        elif max(high, value) - min(low, value) > STEADY:
            close(start, i)
            start, low, high = i, value, value
        else:
            low, high = min(low, value), max(high, value)
    close(start, len(values))
    return spans


def jitter(times: np.ndarray, truth: np.ndarray, output: np.ndarray) -> float:
    """Standard deviation of the output about its mean in each span where the truth is constant; NaN without one."""
    squares = [(output[span] - np.nanmean(output[span])) ** 2 for span in steady_spans(times, truth)
               if not np.isnan(output[span]).all()]
    return float(np.sqrt(np.nanmean(np.concatenate(squares)))) if squares else float("nan")


def delay(times: np.ndarray, truth: np.ndarray, output: np.ndarray) -> float:
    """By how many seconds the output follows the truth: the shift at which they correlate best.

    Both are joined by straight lines where neighbours are known; negative where the output leads. NaN where either
    hardly moves, they correlate at no shift, or the best shift is the largest one looked for.
    """
    times, out_known = np.asarray(times, float), ~np.isnan(output)
    truth_known = ~np.isnan(truth)
    if min(out_known.sum(), truth_known.sum()) < 10 or np.nanstd(truth) < 0.1 or np.nanstd(output) < 1e-6:
        return float("nan")

    def correlation(shift: float) -> float:
        # The output is asked at its own times, the truth `shift` earlier: no point of the output is invented.
        at = times[out_known] - shift
        values, sure = _interpolated(times, truth, at)
        if sure.sum() < 10:
            return -1.0
        a, b = values[sure], output[out_known][sure]
        a, b = a - a.mean(), b - b.mean()
        size = float(np.sqrt((a @ a) * (b @ b)))
        return float(a @ b) / size if size > 1e-9 else -1.0

    coarse = np.arange(-LONGEST_DELAY, LONGEST_DELAY + 0.005, 0.01)
    best = float(coarse[np.argmax([correlation(shift) for shift in coarse])])
    fine = best + np.arange(-10, 11) * DELAY_STEP
    values = np.array([correlation(shift) for shift in fine])
    peak = int(np.argmax(values))
    if values[peak] < LEAST_CORRELATION or abs(best) > LONGEST_DELAY - 0.005:
        return float("nan")
    if not 0 < peak < len(fine) - 1:
        return float(fine[peak])
    # The top of the parabola through the three highest.
    before, top, after = values[peak - 1:peak + 2]
    bend = before - 2 * top + after
    return float(fine[peak] + (0.5 * DELAY_STEP * (before - after) / bend if bend < 0 else 0.0))


def _interpolated(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve's values at other times, and where both neighbours are known and near."""
    right = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    left = right - 1
    span = times[right] - times[left]
    share = (at - times[left]) / span
    # A hair's breadth beyond the ends is rounding.
    inside = (share > -1e-6) & (share < 1 + 1e-6) & (span < 0.2)
    known = values[left] + np.clip(share, 0, 1) * (values[right] - values[left])
    # At a point itself the neighbour need not be known.
    known = np.where(np.abs(share) < 1e-6, values[left], np.where(np.abs(share - 1) < 1e-6, values[right], known))
    return known, inside & ~np.isnan(known)


def landmark_error(truth: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Mean distance of points [N, 68, 2], per cent of the true distance of the outer eye corners: [N]."""
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    return 100 * np.linalg.norm(output - truth, axis=2).mean(1) / eyes


# -- clips -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """One face over N frames; NaN where nothing is known.

    Attributes:
        times: [N] seconds.
        intensity, performed, presence: AU -> [N]. `performed`: the truth's intensity also where a picture does not
            tell, the output's before smoothing.
        points: [N, 68, 2]; pose: [N, 3], yaw, pitch, roll, radians.
    """

    times: np.ndarray
    intensity: dict[int, np.ndarray]
    performed: dict[int, np.ndarray]
    presence: dict[int, np.ndarray]
    points: np.ndarray
    pose: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """One after the other, some seconds apart."""
        times, begin = [], 0.0
        for part in parts:
            times.append(part.times + begin)
            begin = times[-1][-1] + _APART
        each = {name: {au: np.concatenate([getattr(part, name)[au] for part in parts])
                       for au in getattr(parts[0], name)} for name in ("intensity", "performed", "presence")}
        return cls(np.concatenate(times), **each, points=np.concatenate([p.points for p in parts]),
                   pose=np.concatenate([p.pose for p in parts]))


def read_truth(path: Path) -> Rows:
    """The truth of a clip.

    Raises:
        InputError: it is missing or no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        header, table = rows[0], np.array(rows[1:], float)
        column = {name: table[:, i] for i, name in enumerate(header)}
        aus = [int(name[2:4]) for name in header if name.startswith("AU") and name.endswith("_r")]
        intensity = {au: column[f"AU{au:02d}_r"] for au in aus}
        return Rows(column["timestamp"], intensity,
                    {au: column.get(f"AU{au:02d}_r_raw", intensity[au]) for au in aus},
                    {au: column[f"AU{au:02d}_p"] for au in aus},
                    np.stack([np.stack([column[f"{axis}_{i}"] for i in range(68)], 1) for axis in "xy"], 2),
                    np.stack([column[name] for name in ("pose_Ry", "pose_Rx", "pose_Rz")], 1))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} is no truth of a clip ({type(error).__name__}: {error})") from None


def read_output(video: Path, truth: Rows, smooth: str) -> tuple[Rows, str]:
    """What rtau says of the clip: of each frame the face that is nearest to the true one; and the backend.

    Raises:
        InputError: the video can't be read, or its frames are not those of the truth.
    """
    from rtau.analyze import Analyzer
    from rtau.pipeline import Run
    from rtau.source import open_source

    analyzer = Analyzer(smooth=smooth)
    seen: list[tuple] = []

    def watch(frame, scores) -> None:
        row = len(seen)
        nothing = np.full(len(analyzer.aus), np.nan)
        if len(scores) and row < len(truth.times):
            far = np.linalg.norm(scores.faces.landmarks - truth.points[row], axis=2).mean(1)
            face, raw = int(np.argmin(far)), scores.raw or scores
            if far[face] < np.ptp(truth.points[row], axis=0).max() / 2:
                seen.append((frame.time, scores.intensity[face], raw.intensity[face], scores.presence[face],
                             scores.faces.landmarks[face], scores.faces.pose[face]))
                return
        seen.append((frame.time, nothing, nothing, nothing, np.full((68, 2), np.nan), np.full(3, np.nan)))

    Run(open_source(str(video)), analyzer, [], watch).run()
    times, smoothed, raw, presence, points, pose = (np.array(part, float) for part in zip(*seen, strict=True))
    if len(times) != len(truth.times) or np.abs(times - truth.times).max() > 1e-3:
        raise InputError(f"{video} has {len(times)} frames up to {times[-1]:.3f} s, its truth {len(truth.times)} "
                         f"up to {truth.times[-1]:.3f} s: they do not belong together")

    def by_au(table: np.ndarray) -> dict[int, np.ndarray]:
        return dict(zip(analyzer.aus, table.T, strict=True))

    return Rows(times, by_au(smoothed), by_au(raw), by_au(presence), points, pose), analyzer.backend


def closures_together(truth: Rows) -> Rows:
    """The truth with blinks (45) counted as closed eyes (43), for an output that does not tell them apart."""
    tables = [dict(table) for table in (truth.intensity, truth.performed, truth.presence)]
    for table in tables:
        table[43] = np.fmax(table[43], table.pop(45))
    return Rows(truth.times, *tables, truth.points, truth.pose)


# -- table -----------------------------------------------------------------------------------


def au_row(au: int, truth: Rows, output: Rows) -> dict[str, float]:
    """Figures of one AU by name; NaN where the truth does not allow one."""
    times, wanted, got = truth.times, truth.intensity[au], output.intensity[au]
    both = ~np.isnan(wanted) & ~np.isnan(got)
    there = truth.presence[au][both] >= 0.5
    true_onsets = crossings(times, truth.performed[au])
    late = match(true_onsets, crossings(times, got))
    moves = bool(both.any() and np.ptp(wanted[both]) >= 0.5)
    nan = float("nan")
    return {
        "n": int(both.sum()), "MAE": float(np.abs(wanted - got)[both].mean()) if both.any() else nan,
        "ICC": icc31(wanted[both], got[both]) if moves else nan,
        "F1": f1(there, output.presence[au][both] >= 0.5), "AUC": auc(there, output.presence[au][both]),
        "found": len(late), "onsets": len(true_onsets),
        "onset": 1000 * float(np.median(late)) if len(late) else nan,
        "spread": 1000 * float(late.std()) if len(late) > 1 else nan,
        "jitter": jitter(times, truth.performed[au], got),
        "raw": 1000 * delay(times, truth.performed[au], output.performed[au]),
        "smooth": 1000 * delay(times, truth.performed[au], got)}


def table(truth: Rows, output: Rows) -> str:
    """All figures as text."""
    aus = [au for au in truth.intensity if au in output.intensity]
    rows = {au: au_row(au, truth, output) for au in aus}
    head = (f"{'AU':>5} {'n':>5} {'MAE':>5} {'ICC':>5} {'F1':>5} {'AUC':>5} {'onsets':>7} {'onset ms':>12} "
            f"{'jitter':>6} {'raw ms':>7} {'smooth ms':>9}")
    lines = [head]
    for au, row in rows.items():
        name = "43+45" if au == 43 and 45 not in truth.intensity else str(au)
        onset = "-" if np.isnan(row["onset"]) else f"{row['onset']:+.0f}"
        onset += "" if np.isnan(row["spread"]) else f" ({row['spread']:.0f})"
        lines.append(f"{name:>5} {row['n']:>5} {_f(row['MAE'])} {_f(row['ICC'])} {_f(row['F1'])} {_f(row['AUC'])} "
                     f"{row['found']:>3.0f}/{row['onsets']:<3.0f} {onset:>12} {_f(row['jitter'], 6)} "
                     f"{_f(row['raw'], 7, '+.0f')} {_f(row['smooth'], 9, '+.0f')}")
    mean = {name: _mean([row[name] for row in rows.values()]) for name in ("MAE", "ICC", "F1", "AUC", "jitter")}
    total = [sum(row[name] for row in rows.values()) for name in ("found", "onsets")]
    late = _mean([row["onset"] for row in rows.values()], np.nanmedian)
    lines.append(f"{'mean':>5} {'':>5} {_f(mean['MAE'])} {_f(mean['ICC'])} {_f(mean['F1'])} {_f(mean['AUC'])} "
                 f"{total[0]:>3.0f}/{total[1]:<3.0f} {_f(late, 12, '+.0f')} {_f(mean['jitter'], 6)} "
                 f"{_f(_mean([r['raw'] for r in rows.values()], np.nanmedian), 7, '+.0f')} "
                 f"{_f(_mean([r['smooth'] for r in rows.values()], np.nanmedian), 9, '+.0f')}   (delays: median)")
    found = ~np.isnan(output.pose[:, 0])
    lines.append(f"face found in {found.sum()} of {len(found)} frames")
    if found.any():
        error = landmark_error(truth.points, output.points)[found]
        lines.append(f"landmarks: {error.mean():.2f} % of the outer-eye distance, 95 % of frames below "
                     f"{np.percentile(error, 95):.2f} %")
        turn = np.degrees(np.abs(output.pose - truth.pose)[found]).mean(0)
        bias = np.degrees((output.pose - truth.pose)[found]).mean(0)
        lines.append("pose, degrees off (bias): " + ", ".join(
            f"{name} {size:.1f} ({lean:+.1f})"
            for name, size, lean in zip(("yaw", "pitch", "roll"), turn, bias, strict=True)))
    return "\n".join(lines)


def _f(value: float, width: int = 5, form: str = ".2f") -> str:
    return ("-" if np.isnan(value) else f"{value:{form}}").rjust(width)


def _mean(values: list[float], how=np.nanmean) -> float:
    return float(how(values)) if not np.isnan(values).all() else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--smooth", default="one-euro", choices=("one-euro", "off"))
    args = parser.parse_args()
    import cv2
    cv2.setNumThreads(1)
    try:
        truths = [read_truth(Path(f"{clip}.csv")) for clip in args.clips]
        outputs, backends = zip(*(read_output(clip, truth, args.smooth)
                                  for clip, truth in zip(args.clips, truths, strict=True)), strict=True)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    truth, output = Rows.join(truths), Rows.join(outputs)
    if 45 in truth.intensity and 45 not in output.intensity:
        truth = closures_together(truth)
    print(f"{len(args.clips)} clip(s), {len(truth.times)} frames, backend {backends[0]}, smoothing {args.smooth}")
    print(table(truth, output))


if __name__ == "__main__":
    main()
