"""Pictures without a face, and things in them that are a little like one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from ..puppet.scenery import draw_background

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_LETTERS = np.array(list("ABCDEFGHIKLMNOPRSTUVWXYZ0123456789 .,:-oO%&@"))


def draw_scene(pictures: Sequence[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """A background uint8 [S, S, 3], RGB: a piece of a picture, several side by side, a room, a texture."""
    kind = rng.random()
    if kind < 0.5:
        return _piece(pictures, size, size, rng)
    if kind < 0.68:
        return _mosaic(pictures, size, rng)
    if kind < 0.88:
        drawn = draw_background(list(pictures), rng)
        if drawn is not None:
            return cv2.resize(drawn, (size, size), interpolation=cv2.INTER_LINEAR)
    return _texture(size, rng)


def draw_things(image: np.ndarray, count: int, rng: np.random.Generator) -> None:
    """Draw so many round, striped, lettered and dotted things on a picture uint8 [S, S, 3]."""
    drawers = (_blob, _blob, _grid, _letters, _smiley, _dial, _bars)
    for _ in range(count):
        side = float(np.exp(rng.uniform(np.log(8), np.log(0.6 * len(image)))))
        centre = rng.uniform(0, len(image), 2)
        drawers[rng.integers(len(drawers))](image, centre, side, rng)


def _colour(rng: np.random.Generator, spread: float = 30) -> tuple[int, ...]:
    if rng.random() < 0.3:  # skin
        return tuple(int(v) for v in np.clip(np.array([214, 168, 142]) * rng.uniform(0.25, 1.1)
                                             + rng.normal(0, 10, 3), 0, 255))
    return tuple(int(v) for v in np.clip(rng.uniform(5, 250) + rng.normal(0, spread, 3), 0, 255))


def _piece(pictures: Sequence[np.ndarray], height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = pictures[rng.integers(len(pictures))]
    if rng.random() < 0.3:
        image = np.rot90(image, int(rng.integers(1, 4)))
    h, w = image.shape[:2]
    share = np.exp(rng.uniform(np.log(0.12), 0)) * min(h / height, w / width)
    ph, pw = max(int(share * height), 8), max(int(share * width), 8)
    y, x = rng.integers(h - ph + 1), rng.integers(w - pw + 1)
    piece = image[y:y + ph, x:x + pw]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    piece = cv2.resize(np.ascontiguousarray(piece), (width, height),
                       interpolation=cv2.INTER_AREA if ph > height else cv2.INTER_CUBIC)
    if rng.random() < 0.25:
        piece = cv2.cvtColor(piece, cv2.COLOR_RGB2HSV)
        piece[..., 0] = (piece[..., 0].astype(int) + int(rng.integers(180))) % 180
        piece = cv2.cvtColor(piece, cv2.COLOR_HSV2RGB)
    if rng.random() < 0.25:
        piece = cv2.GaussianBlur(piece, (0, 0), float(np.exp(rng.uniform(np.log(0.7), np.log(5)))))
    return piece


def _mosaic(pictures: Sequence[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    out = np.empty((size, size, 3), np.uint8)
    ys = np.r_[0, np.sort(rng.integers(16, size - 16, rng.integers(0, 3))), size]
    for top, bottom in pairwise(ys):
        xs = np.r_[0, np.sort(rng.integers(16, size - 16, rng.integers(0, 3))), size]
        for left, right in pairwise(xs):
            if bottom > top and right > left:
                out[top:bottom, left:right] = _piece(pictures, bottom - top, right - left, rng)
    return out


def _texture(size: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of several scales, coloured along one line and off it."""
    out = np.zeros((size, size, 3), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        cells = rng.integers(2, size // 2, 2)
        strength = rng.uniform(10, 90) * np.clip(rng.normal(1, 0.4, 3), 0, None)
        noise = rng.standard_normal((int(cells[0]), int(cells[1]), 1 if rng.random() < 0.6 else 3)).astype(np.float32)
        noise = cv2.resize(np.broadcast_to(noise, (*noise.shape[:2], 3)).copy(), (size, size),
                           interpolation=cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST)
        out += noise * strength.astype(np.float32)
    return np.clip(out + rng.uniform(20, 230) + rng.normal(0, 25, 3), 0, 255).astype(np.uint8)


# -- things ----------------------------------------------------------------------------------

def _blob(image, centre, side, rng) -> None:
    """An ellipse or an uneven polygon, sometimes shaded: a ball, a fruit, a hand seen from afar."""
    turn, wide = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = side / 2 * (1 + (rng.uniform(0, 0.5) * rng.normal(0, 0.3, 24)))
    outline = np.stack([np.cos(angles) * radius, np.sin(angles) * radius * wide], 1)
    outline = outline @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + centre
    colour = np.array(_colour(rng), float)
    cv2.fillPoly(image, [np.round(outline).astype(np.int32)], colour.tolist(), cv2.LINE_AA)
    for step in range(int(rng.integers(0, 4))):
        inner = centre + (outline - centre) * (0.75 - 0.2 * step) + side * 0.05
        cv2.fillPoly(image, [np.round(inner).astype(np.int32)], np.clip(colour * (1.1 + 0.1 * step), 0, 255).tolist(),
                     cv2.LINE_AA)


def _grid(image, centre, side, rng) -> None:
    """Dots or squares in rows, as of windows, keyboards and loudspeakers."""
    rows, columns = rng.integers(1, 7, 2)
    pitch, colour, round_ = side / max(rows, columns), _colour(rng), rng.random() < 0.5
    radius = max(int(pitch * rng.uniform(0.15, 0.45)), 1)
    if rng.random() < 0.6:
        low = np.round(centre).astype(int)
        cv2.rectangle(image, low.tolist(), (low + (np.array([columns, rows]) * pitch).astype(int)).tolist(),
                      _colour(rng), -1)
    for row in range(rows):
        for column in range(columns):
            x, y = (centre + (np.array([column, row]) + 0.5) * pitch).astype(int).tolist()
            if round_:
                cv2.circle(image, (x, y), radius, colour, -1, cv2.LINE_AA)
            else:
                cv2.rectangle(image, (x - radius, y - radius), (x + radius, y + radius), colour, -1)


def _letters(image, centre, side, rng) -> None:
    text = "".join(rng.choice(_LETTERS, int(rng.integers(1, 14))))
    cv2.putText(image, text, np.round(centre - (side, 0)).astype(int).tolist(), _FONTS[rng.integers(len(_FONTS))],
                side / rng.uniform(25, 90), _colour(rng), int(rng.integers(1, 4)), cv2.LINE_AA)


def _smiley(image, centre, side, rng) -> None:
    """A disc with two dots and a line: not a face that anybody wants to measure."""
    x, y = np.round(centre).astype(int).tolist()
    radius, ink = max(int(side / 2), 4), _colour(rng)
    face = (250, 215, 60) if rng.random() < 0.5 else _colour(rng)
    cv2.circle(image, (x, y), radius, face, -1, cv2.LINE_AA)
    dot = max(int(radius * rng.uniform(0.08, 0.2)), 1)
    for sign in (-1, 1):
        cv2.circle(image, (x + sign * int(radius * 0.36), y - int(radius * 0.25)), dot, ink, -1, cv2.LINE_AA)
    cv2.ellipse(image, (x, y + int(radius * 0.15)), (int(radius * 0.5), int(radius * rng.uniform(0.05, 0.5))), 0,
                0, 180, ink, max(radius // 12, 1), cv2.LINE_AA)


def _dial(image, centre, side, rng) -> None:
    """Rings with hands or spokes: clocks, wheels, plates, lenses."""
    x, y = np.round(centre).astype(int).tolist()
    radius = max(int(side / 2), 4)
    for share in sorted(rng.uniform(0.2, 1, rng.integers(1, 5)), reverse=True):
        cv2.circle(image, (x, y), int(radius * share), _colour(rng), -1 if rng.random() < 0.7 else 2, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 6))):
        angle, far = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.4, 1)
        cv2.line(image, (x, y), (int(x + far * np.cos(angle)), int(y + far * np.sin(angle))), _colour(rng),
                 max(radius // 10, 1), cv2.LINE_AA)


def _bars(image, centre, side, rng) -> None:
    """Stripes: fences, blinds, shelves, fingers."""
    count, turn = int(rng.integers(2, 8)), rng.uniform(0, np.pi)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    colour, thick = _colour(rng), max(int(side / count * rng.uniform(0.2, 0.8)), 1)
    for number in range(count):
        middle = centre + across * side * ((number + 0.5) / count - 0.5)
        ends = [np.round(middle + sign * along * side * rng.uniform(0.3, 0.8)).astype(int).tolist() for sign in (-1, 1)]
        cv2.line(image, *ends, colour, thick, cv2.LINE_AA)
