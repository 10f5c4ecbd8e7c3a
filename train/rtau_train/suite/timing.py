"""Measures of curves over time: onsets, delays, and how steady an output is while the truth is.

A curve is a pair of arrays [N], times in seconds, rising, and values, NaN where unknown.
"""

from __future__ import annotations

import numpy as np

#: Intensity whose crossing is an onset, and how far it must fall below before the next one counts.
ONSET, REARM = 2.0, 0.5
#: An onset of the output belongs to one of the truth this much earlier or later, seconds.
EARLY, LATE = 0.3, 0.7
#: The truth is constant while it stays within this (intensity) for so long; the output may settle first. Seconds.
STEADY, STEADY_SECONDS, SETTLE = 0.1, 0.3, 0.4
#: Largest delay looked for, seconds, its step, and the least correlation that counts.
LONGEST_DELAY, DELAY_STEP, LEAST_CORRELATION = 0.5, 0.001, 0.4


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
