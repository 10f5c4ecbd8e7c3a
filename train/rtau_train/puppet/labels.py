"""From what a puppet did to what a FACS coder would write down.

Activation (0..1 of the strongest believable form) maps to intensity 0..5 piecewise
linearly; lips apart, jaw and lids are read off the geometry instead, and an AU whose look
another AU can fake is left unknown rather than called absent.
"""

from __future__ import annotations

import numpy as np

from .sample import AUS, OTHERS

#: Activation at intensity 0, 0.5, 1 (A), 2, 3, 4, 5 (E).
KNOTS = np.array([0.0, 0.08, 0.15, 0.30, 0.55, 0.80, 1.0])
GRADES = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0])
#: Growth of the inner lip distance, mm, at the same grades (25: lips part).
LIP_GAP = np.array([0.0, 1.0, 1.5, 3.0, 6.0, 10.0, 15.0])
#: Rig coefficient of the jaw at the same grades (26: jaw drop).
JAW = np.array([0.0, 0.10, 0.15, 0.20, 0.28, 0.36, 0.45])
#: Lid distance over the resting one at the same grades, downwards (43: eyes closed).
LID = np.array([0.80, 0.45, 0.32, 0.25, 0.18, 0.12, 0.05])

#: Unknown when `cause` is at least this strong and the AU itself was not asked for.
_LEAKS: tuple[tuple[int, int, float], ...] = (
    (10, 9, 0.15), (4, 9, 0.55), (6, 12, 0.55), (7, 6, 0.30), (6, 7, 0.55), (1, 2, 0.30), (24, 23, 0.15),
    (23, 24, 0.15), (14, 20, 0.55), (12, 20, 0.80), (7, 43, 0.30), (7, 12, 0.55), (17, 24, 0.55), (9, 10, 0.70),
    (25, 10, 0.60),
    (17, 23, 0.30), (6, 9, 0.80))
#: The same where the cause is one of `sample.OTHERS`.
_LEAKS_OF_OTHERS: tuple[tuple[int, int, float], ...] = (
    (10, 22, 0.25), (17, 28, 0.15), (23, 28, 0.15), (24, 28, 0.15), (23, 18, 0.30), (24, 18, 0.55), (10, 18, 0.80))
#: Of `sample.OTHERS` those that are labels of their own.
TOLD: tuple[int, ...] = (18, 22, 28)
#: What hides them: an AU, or another of the others, from an activation on.
_LEAKS_TO_OTHERS: tuple[tuple[int, int, float], ...] = ((18, 22, 0.15), (22, 18, 0.15), (28, 23, 0.15), (28, 24, 0.30))
#: A mouth of which less shows is not judged.
_MOUTH_SHOWS = 0.35
_AMBIGUOUS = (0.5, 1.0)  # neither absent nor present


def intensities(activation: np.ndarray, lip_gap: np.ndarray, lid_gap: np.ndarray, jaw_open: np.ndarray,
                others: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Label rendered pictures.

    Args:
        activation: [N, 18, 2], per AU and side; lip_gap: [N], mm, and lid_gap: [N, 2], as in
            `scene.Shot`; jaw_open: [N], the rig's coefficient.
        others: [N, 6], activation of `sample.OTHERS`; none when None.

    Returns:
        intensity float32 [N, 18] 0..5, and known bool [N, 18]: False where the picture
        does not tell, or lies between absent and A.
    """
    # A coder scores the stronger side; the weaker one softens what is seen.
    u = 0.7 * activation.max(2) + 0.3 * activation.min(2)
    intensity = np.interp(u, KNOTS, GRADES)
    column = {au: i for i, au in enumerate(AUS)}
    intensity[:, column[25]] = np.interp(lip_gap, LIP_GAP, GRADES)
    intensity[:, column[26]] = np.interp(jaw_open, JAW, GRADES)
    closed = lid_gap.mean(1)
    intensity[:, column[43]] = np.interp(-closed, -LID, GRADES)

    known = ~((intensity > _AMBIGUOUS[0]) & (intensity < _AMBIGUOUS[1]))
    for au, cause, at_least in _LEAKS:
        known[:, column[au]] &= ~((u[:, column[au]] < KNOTS[2]) & (u[:, column[cause]] >= at_least)
                                  & (intensity[:, column[au]] < 1))
    if others is not None:
        place = {au: i for i, au in enumerate(OTHERS)}
        for au, cause, at_least in _LEAKS_OF_OTHERS:
            known[:, column[au]] &= ~((others[:, place[cause]] >= at_least) & (intensity[:, column[au]] < 1))
    known[:, column[43]] &= ~((closed >= LID[2]) & (closed < 0.5))  # half closed: a coder's call
    known[:, column[5]] &= ~(closed < 0.5)
    known[:, column[43]] &= ~((np.abs(lid_gap[:, 0] - lid_gap[:, 1]) > 0.4))  # a wink is no 43
    return intensity.astype(np.float32), known


def told(labels: dict) -> dict[int, float]:
    """Intensity 0..5 of each of `TOLD` in a picture, by its record; NaN where the picture does not tell."""
    column = {au: i for i, au in enumerate(AUS)}
    activation = {au: float(max(labels["activation"][i])) for au, i in column.items()}
    activation |= {au: float(labels["others"].get(str(au), 0.0)) for au in OTHERS}
    seen = labels["visibility"]["mouth"] >= _MOUTH_SHOWS
    grades = {}
    for au in TOLD:
        grade = float(np.interp(activation[au], KNOTS, GRADES))
        faked = grade < 1 and any(activation[cause] >= least for one, cause, least in _LEAKS_TO_OTHERS if one == au)
        grades[au] = grade if seen and not faked and not _AMBIGUOUS[0] < grade < _AMBIGUOUS[1] else float("nan")
    return grades
