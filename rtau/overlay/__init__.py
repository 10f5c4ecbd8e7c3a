"""Faces and their Action Units drawn onto a picture, in one of three styles.

- bars: box, points, and a panel of bars beside each face.
- regions: the muscles at work glow on the face; a list of what they do beside it.
- minimal: a thin box and one line, such as "12 C  25 B".
"""

from .draw import STYLES, Overlay, check_style, draw_overlay

__all__ = ["STYLES", "Overlay", "check_style", "draw_overlay"]
