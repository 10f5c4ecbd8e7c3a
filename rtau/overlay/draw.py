"""The drawn picture: which parts each style is made of."""

from __future__ import annotations

import numpy as np

from ..au import are_attributes
from ..errors import UsageError
from ..pen import Pen
from ..types import Scores, Status
from .heat import draw_heat
from .legend import Legend
from .marks import draw_box, draw_landmarks, draw_status, id_colour, int_box
from .panels import BARS, NAMES, Panels
from .words import draw_words

#: How the scores may be drawn.
STYLES = ("minimal", "bars", "regions")


def check_style(name: str) -> str:
    """The name, if there is such a style.

    Raises:
        UsageError: there is none.
    """
    if name not in STYLES:
        raise UsageError(f"unknown overlay style {name!r}: choose from {', '.join(STYLES)}")
    return name


class Overlay:
    """Draws on the pictures of one video; panels keep their side of the face and move calmly with it.

    Args:
        style: see `STYLES`.
        landmarks: draw the 68 points, in the style "bars".
        scale: size of text and lines, 1 is made for reading the picture as a whole.
        legend: say in a corner what is what, where the picture is large enough.

    Raises:
        UsageError: an unknown style.
    """

    def __init__(self, style: str = "bars", *, landmarks: bool = True, scale: float = 1.0, legend: bool = True) -> None:
        self.style = check_style(style)
        self.landmarks = landmarks and style == "bars"
        self.scale = scale
        self._panels = Panels(BARS if style == "bars" else NAMES)
        self._legend = Legend(style) if legend and style != "minimal" else None

    def forget(self) -> None:
        """The next picture has nothing to do with the last one."""
        self._panels.forget()
        if self._legend is not None:
            self._legend.forget()

    def __call__(self, image: np.ndarray, scores: Scores, status: Status | None = None) -> np.ndarray:
        """A copy of `image` with the scores drawn on it.

        Args:
            image: uint8 [H, W, 3], RGB, of any size.
            scores: the faces of this picture.
            status: write how the analysis is doing into a corner.

        Returns:
            uint8 [H, W, 3], RGB.
        """
        canvas = np.ascontiguousarray(image).copy()
        height, width = canvas.shape[:2]
        pen = Pen(canvas, max(0.3, min(width, height) / 720 * self.scale))
        faces = scores.faces
        boxes = [int_box(box) for box in faces.boxes]
        if self.style == "regions":
            for i in range(len(boxes)):
                draw_heat(canvas, scores, i)
        for i, box in enumerate(boxes):
            if self.landmarks:
                draw_landmarks(pen, scores, i)
            # A panel says whose it is; a face alone needs no number on its box.
            label = f"{faces.ids[i]}" if len(boxes) > 1 and self.style != "minimal" else ""
            draw_box(pen, box, id_colour(int(faces.ids[i])), label, corners=self.style == "bars")
        if self.style == "minimal":
            taken = draw_words(pen, scores, boxes)
        else:
            taken = self._panels.draw(pen, scores, boxes)
        # No muscle stands for an attribute: nothing glows that would have to be explained.
        if self._legend is not None and boxes and not (self.style == "regions" and are_attributes(scores.aus)):
            taken += self._legend.draw(pen, boxes + taken, graded=scores.graded)
        if status is not None:
            draw_status(pen, status, taken)
        return canvas


def draw_overlay(image: np.ndarray, scores: Scores, *, status: Status | None = None, style: str = "bars",
                 landmarks: bool = True, scale: float = 1.0, legend: bool = True) -> np.ndarray:
    """Draw the scores of one picture on a copy of it; see `Overlay`, which is for the pictures of a video."""
    return Overlay(style, landmarks=landmarks, scale=scale, legend=legend)(image, scores, status)
