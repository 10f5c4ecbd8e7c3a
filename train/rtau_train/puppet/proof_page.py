"""The proof of labels as a page to read: measured on the rig and on people, each time anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtau.au import BY_NUMBER
from rtau.errors import OutputError
from rtau.sinks.paths import output_error

from .cast import Cast
from .markdown import table
from .proof import STATED_LEAK, Leak, landmark_error, leaks, motions, rest_psnr
from .render import Renderer
from .rig import load_rig
from .sample import draw
from .scene import Scene
from .scenery import draw_pose

_SCENES = 4  # drawn for each person to measure points in
_SIDE = 160


@dataclass(frozen=True)
class Proof:
    """What was measured.

    Attributes:
        motions: by AU its own sign in mm at grades A to E, on the generic head.
        leaks: AUs at full strength that carry another's sign.
        points: by person the greatest distance, in pixels of a 160 px picture, of a labeled point from
            where its vertex is drawn.
        rest: by person the likeness of the face at rest to the portrait, dB.
    """

    motions: dict[int, list[float]]
    leaks: list[Leak]
    points: dict[str, float]
    rest: dict[str, float]


def prove(cast: Cast, people: Sequence[str], report: Callable[[int, int], None] | None = None) -> Proof:
    """Measure; `report` hears of people done and people in all."""
    renderer = Renderer(load_rig(cast.rig))
    points, rest = {}, {}
    for count, person in enumerate(people):
        if report is not None:
            report(count, len(people))
        puppet, rng = cast.puppet(person, renderer.rig), np.random.default_rng([23, count])
        errors = []
        for _ in range(_SCENES):
            yaw, pitch, roll = draw_pose(rng)
            scene = Scene(draw(rng, list(renderer.rig.shape_names)), yaw=yaw, pitch=pitch, roll=roll,
                          distance=float(rng.uniform(45, 150)))
            errors.append(landmark_error(renderer, puppet, scene, _SIDE))
        points[person] = float(np.nanmax(errors))
        if person in cast.portraits():
            rest[person] = rest_psnr(renderer, puppet, cast.portrait(person))
    if report is not None:
        report(len(people), len(people))
    return Proof(motions(renderer.rig), leaks(renderer.rig), points, rest)


def write_proof(proof: Proof, out: str | Path) -> Path:
    """Write the page as Markdown; the same figures give the same bytes.

    Raises:
        OutputError: it can't be written.
    """
    out = Path(out)
    if out.suffix.lower() != ".md":
        raise OutputError(f"{out}: the proof is written as Markdown; name it something.md")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(_text(proof), encoding="utf-8")
    except OSError as error:
        raise output_error(out, error) from error
    return out


def _text(proof: Proof) -> str:
    worst = max(proof.points, key=lambda person: proof.points[person])
    pieces = [
        "# Proof of labels",
        "What an AU moves, in mm of its own sign (the motion that a coder looks for first) on the generic head, at the "
        "intensities A to E. Each grade must move more than the one before.",
        table(("AU", "name", *"ABCDE"), ((au, BY_NUMBER[au].name, *(f"{mm:.1f}" for mm in row))
                                          for au, row in proof.motions.items()), words=2),
        "## Leaks",
        "An AU at full strength that carries another's sign by a fifth or more of what that one's own full strength "
        "does, and what the labels then say of the other: *labeled* (present), *ignored* (neither present nor "
        f"absent), or *stated* here only, which is allowed up to {100 * STATED_LEAK:.0f} %.",
        table(("AU", "looks like", "share", "labels"),
               ((leak.cause, leak.seen_as, f"{100 * leak.share:.0f} %", leak.handled or "stated")
                for leak in proof.leaks)),
        "## Points",
        f"Labeled points against where their vertices are drawn, {_SCENES} drawn scenes for each of "
        f"{len(proof.points)} people at {_SIDE} px: greatest distance {proof.points[worst]:.2f} px ({worst}), median "
        f"over people {np.median(list(proof.points.values())):.2f} px.",
    ]
    if proof.rest:
        least = min(proof.rest, key=lambda person: proof.rest[person])
        pieces += ["## At rest", "A face with all coefficients zero against its portrait, over the face at half the "
                   f"portrait's size: least {proof.rest[least]:.1f} dB ({least}), median "
                   f"{np.median(list(proof.rest.values())):.1f} dB."]
    return "\n\n".join(pieces) + "\n"
