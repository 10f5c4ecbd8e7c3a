"""How published work splits the corpora, and splits by subject for anything else.

| protocol | labels | folds |
|---|---|---|
| `emotionet-3random` | AUs 1 2 4 5 6 9 12 17 20 25 26 43 | three draws: 15,000 random pictures train, the rest test |
| `bp4d-3fold` | AUs 1 2 4 6 7 10 12 14 15 17 23 24 | subject-exclusive, three |
| `disfa-3fold` | AUs 1 2 4 6 9 12 25 26 | subject-exclusive, three |
| `kfold-by-subject` | all there are | subject-exclusive, as many as you say |

Who is in which fold is seldom printed, and authors' folds differ: re-drawing them alone moves published averages by
several points, so a figure is comparable only to one of the same folds. Here subject i of the sorted names tests in
fold i mod k, which parts women and men evenly where names begin with F and M. If you know an author's folds, give them.

Every split is checked: nobody, and no picture, is on both sides.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from rtau.au import BP4D, DISFA, EMOTIONET
from rtau.errors import InputError, UsageError

from .faces import FaceSet, Listing, au_name, check_apart

log = logging.getLogger(__name__)

F = TypeVar("F", Listing, FaceSet)

#: EmotioNet's pictures that the paper found on the web, and those of them that train.
_FOUND, _TRAIN = 20_722, 15_000

#: With more subjects than this, placing them one after the other balances well enough.
_EXCHANGED = 500


@dataclass(frozen=True)
class Protocol:
    """What is trained on, what is tested on, and which labels count.

    Attributes:
        aus: whose labels count; all labels that there are when empty.
        folds: how many, by default.
        by_subject: no subject is on both sides; else pictures are drawn at random.
    """

    aus: tuple[int, ...]
    folds: int
    by_subject: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Of the labels that count."""
        return tuple(map(au_name, self.aus))


PROTOCOLS: dict[str, Protocol] = {
    "emotionet-3random": Protocol(EMOTIONET, 3, by_subject=False),
    "bp4d-3fold": Protocol(BP4D, 3, by_subject=True),
    "disfa-3fold": Protocol(DISFA, 3, by_subject=True),
    "kfold-by-subject": Protocol((), 3, by_subject=True),
}


@dataclass(frozen=True)
class Fold(Generic[F]):
    """One split: its name, and the faces that train and that test."""

    name: str
    train: F
    test: F

    def __post_init__(self) -> None:
        check_apart({f"{self.name} train": self.train, f"{self.name} test": self.test})
        both = np.intersect1d(self.train.source, self.test.source)
        if len(both):
            raise InputError(f"{self.name}: {both[0]} trains and tests: list each picture once")


def draw_folds(faces: F, protocol: str, *, folds: int | None = None, seed: int = 0,
               subjects: Sequence[Sequence[str]] | None = None) -> tuple[Fold[F], ...]:
    """Split faces by a protocol.

    Args:
        faces: a listing, or faces whose points are known.
        protocol: a key of `PROTOCOLS`.
        folds: how many, if not as many as the protocol says.
        seed: of random draws; draw i depends on the seed and i alone. Splits by subject don't need it.
        subjects: who tests in each fold, in place of the sorted order.

    Returns:
        The folds, with the labels that the protocol counts; those not coded are unknown.

    Raises:
        UsageError: no such protocol, or numbers and subjects that it can't have.
        InputError: nobody coded its labels; a subject is unknown, or there are too few; someone is in two folds.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"there is no protocol {protocol!r}: choose from {', '.join(PROTOCOLS)}")
    rules = PROTOCOLS[protocol]
    if folds is not None and folds < 1 + rules.by_subject:
        raise UsageError(f"{protocol} needs at least {1 + rules.by_subject} folds, not {folds}")
    if subjects is not None and not rules.by_subject:
        raise UsageError(f"{protocol} draws pictures at random: subjects can't be given")
    if rules.aus:
        faces = _counted(faces, protocol, rules)
    if not rules.by_subject:
        return _draw(faces, protocol, folds or rules.folds, seed)
    groups = _groups(faces, folds or rules.folds) if subjects is None else [list(group) for group in subjects]
    if subjects is not None:
        _check_groups(faces, groups, protocol)
    found = []
    for number, group in enumerate(groups, 1):
        tests = np.isin(faces.subject, group)
        found.append(Fold(f"{protocol} fold {number}", faces[~tests], faces[tests]))
    return tuple(found)


def _counted(faces: F, protocol: str, rules: Protocol) -> F:
    chosen = faces.select(rules.names)
    bare = [name for name, coded in zip(rules.names, (chosen.labels != 0).any(0), strict=True) if not coded]
    if len(bare) == len(rules.names):
        raise InputError(f"{protocol} needs labels of {', '.join(rules.names)}, and none of them is coded here")
    if bare:
        log.warning("%s counts %s, which nobody coded here", protocol, ", ".join(bare))
    return chosen


def _draw(faces: F, protocol: str, count: int, seed: int) -> tuple[Fold[F], ...]:
    total = len(faces)
    train = _TRAIN if total >= _FOUND else round(total * _TRAIN / _FOUND)
    if not 0 < train < total:
        raise InputError(f"{protocol} needs at least 2 pictures, not {total}")
    if total < _FOUND:
        log.warning("%s: %d pictures instead of %d: %d train instead of %d, the rest test", protocol, total, _FOUND,
                    train, _TRAIN)
    found = []
    for number in range(count):
        order = np.random.default_rng([seed, number]).permutation(total)
        found.append(Fold(f"{protocol} draw {number + 1}", faces[np.sort(order[:train])],
                          faces[np.sort(order[train:])]))
    return tuple(found)


def _groups(faces: F, count: int) -> list[list[str]]:
    names = _subjects(faces)
    if len(names) < count:
        raise InputError(f"{count} folds need at least {count} subjects, and there are {len(names)}")
    return [names[number::count] for number in range(count)]


def _subjects(faces: F) -> list[str]:
    """Everyone's names, sorted. Raises InputError where one is unknown."""
    unknown = np.flatnonzero(faces.subject == "")
    if len(unknown):
        raise InputError(f"{len(unknown)} of {len(faces)} faces have no subject (the first: "
                         f"{faces.source[unknown[0]]}): a split by subject needs one for each")
    return np.unique(faces.subject).tolist()


def _check_groups(faces: F, groups: list[list[str]], protocol: str) -> None:
    seen: dict[str, int] = {}
    for number, group in enumerate(groups, 1):
        for name in group:
            if name in seen:
                raise InputError(f"{protocol}: subject {name} is in fold {seen[name]} and in fold {number}")
            seen[name] = number
    there = _subjects(faces)
    strangers, left = sorted(set(seen) - set(there)), sorted(set(there) - set(seen))
    if strangers:
        raise InputError(f"{protocol}: there is no subject {strangers[0]}; the names here are such as {there[0]}")
    if left:
        raise InputError(f"{protocol}: subject {left[0]} is in no fold")
    if len(groups) < 2 or not all(groups):
        raise UsageError(f"{protocol} needs at least 2 folds with a subject in each")


def split_by_subject(faces: F, shares: Mapping[str, float], seed: int = 0) -> dict[str, F]:
    """Split so that nobody is in two parts and each part has its share of faces, and of each label's positives.

    Subjects with more faces are placed first, each where it leaves the parts nearest to their shares; those with about
    as many faces come in an order drawn by the seed. Then pairs change places while that helps. What one subject holds
    can't be parted, so shares are met as far as the subjects allow.

    Args:
        faces: a listing, or faces whose points are known.
        shares: of each part by name, such as {"train": 0.8, "validation": 0.2}; they need not sum to 1.
        seed: same seed, same parts.

    Returns:
        The parts by name; each has at least one subject.

    Raises:
        UsageError: shares that are not above 0. InputError: a subject is unknown, or there are fewer than parts.
    """
    if not shares or any(not share > 0 for share in shares.values()):
        raise UsageError("shares must be above 0, one for each part")
    names = _subjects(faces)
    if len(names) < len(shares):
        raise InputError(f"{len(shares)} parts need at least {len(shares)} subjects, and there are {len(names)}: label "
                         "pictures of more people, who teach in one part and are judged in another")
    who = np.searchsorted(names, faces.subject)
    # What each subject brings, in shares of all there is: faces, and positives of each label.
    worth = np.zeros((len(names), 1 + len(faces.names)))
    np.add.at(worth, who, np.concatenate([np.ones((len(faces), 1)), faces.labels > 0], 1))
    counts = worth[:, 0].copy()
    worth /= np.maximum(worth.sum(0), 1)
    wanted = np.array(list(shares.values())) / sum(shares.values())
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-np.floor(np.log2(counts[order])), kind="stable")]
    weight = np.r_[1.0, np.full(len(faces.names), 1 / max(len(faces.names), 1))]  # labels together count as the faces
    held = np.zeros((len(shares), worth.shape[1]))
    part_of = np.full(len(names), -1)
    for turn, subject in enumerate(order):
        # What each part would be off its share if it had this subject, relative to that share, less what it is off now.
        before, after = ((added - wanted[:, None]) ** 2 for added in (held, held + worth[subject]))
        cost = ((after - before) @ weight) / wanted
        empty = ~np.isin(np.arange(len(shares)), part_of)
        if empty.sum() >= len(order) - turn:  # the last ones go where nobody is
            cost[~empty] = np.inf
        part_of[subject] = int(np.argmin(cost))
        held[part_of[subject]] += worth[subject]
    if len(names) <= _EXCHANGED:
        _exchange(part_of, held, worth, wanted, weight)
    parts = {name: faces[part_of[who] == number] for number, name in enumerate(shares)}
    check_apart(parts)
    return parts


def _exchange(part_of: np.ndarray, held: np.ndarray, worth: np.ndarray, wanted: np.ndarray, weight: np.ndarray) -> None:
    """Let subjects of different parts change places while that brings the parts nearer to their shares; in place."""
    for _ in range(20):
        better = False
        for one in range(len(part_of)):
            others = np.flatnonzero(part_of != part_of[one])
            if not len(others):
                continue
            gain, mine = worth[others] - worth[one], part_of[one]
            cost = np.zeros(len(others))
            for part, change in ((np.full(len(others), mine), gain), (part_of[others], -gain)):
                off = held[part] - wanted[part, None]
                cost += (((off + change) ** 2 - off**2) @ weight) / wanted[part]
            best = int(np.argmin(cost))
            if cost[best] < -1e-12:
                better, other = True, others[best]
                held[mine] += gain[best]
                held[part_of[other]] -= gain[best]
                part_of[one], part_of[other] = part_of[other], mine
        if not better:
            return
