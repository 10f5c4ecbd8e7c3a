"""A generic head: where 68 points lie in space, and the head pose that explains where they lie in a picture."""

from __future__ import annotations

import cv2
import numpy as np

#: Multi-PIE points of a generic head, cm: x to the subject's left, y up, z out of the face.
#: The neutral mesh of ICT-FaceKit (MIT licence, USC Institute for Creative Technologies).
POINTS = np.array([
    (-7.36, 3.68, 3.66), (-7.28, 1.49, 3.93), (-6.94, -0.46, 4.53), (-6.56, -2.36, 5.17),
    (-5.72, -4.49, 6.13), (-4.30, -6.21, 7.35), (-3.05, -6.91, 8.77), (-1.54, -7.26, 10.27),
    (0.00, -7.57, 10.43), (1.54, -7.26, 10.27), (3.05, -6.91, 8.77), (4.30, -6.21, 7.35),
    (5.72, -4.49, 6.13), (6.56, -2.36, 5.17), (6.94, -0.46, 4.53), (7.28, 1.49, 3.93),
    (7.36, 3.68, 3.66), (-5.82, 5.20, 7.91), (-4.93, 5.98, 8.99), (-3.79, 6.26, 9.83),
    (-2.41, 6.19, 10.48), (-1.17, 5.91, 10.73), (1.17, 5.91, 10.73), (2.41, 6.19, 10.48),
    (3.79, 6.26, 9.83), (4.93, 5.98, 8.99), (5.82, 5.20, 7.91), (0.00, 3.74, 10.73),
    (0.00, 2.63, 11.52), (0.00, 1.61, 12.31), (0.00, 0.41, 13.07), (-1.25, -1.14, 10.87),
    (-0.60, -1.14, 11.42), (0.00, -1.20, 11.57), (0.60, -1.14, 11.42), (1.25, -1.14, 10.87),
    (-4.46, 3.43, 8.60), (-3.87, 3.87, 9.36), (-2.78, 3.94, 9.53), (-1.84, 3.25, 9.20),
    (-2.73, 3.08, 9.41), (-3.86, 3.07, 9.23), (1.84, 3.25, 9.20), (2.78, 3.94, 9.53),
    (3.87, 3.87, 9.36), (4.46, 3.43, 8.60), (3.86, 3.07, 9.23), (2.73, 3.08, 9.41),
    (-2.53, -3.52, 10.19), (-1.70, -2.78, 11.22), (-0.73, -2.42, 11.73), (0.00, -2.48, 11.84),
    (0.73, -2.42, 11.73), (1.70, -2.78, 11.22), (2.53, -3.52, 10.19), (1.80, -4.06, 10.90),
    (1.03, -4.30, 11.39), (0.00, -4.38, 11.55), (-1.03, -4.30, 11.39), (-1.80, -4.06, 10.90),
    (-2.21, -3.49, 10.13), (-1.00, -3.30, 11.09), (0.00, -3.32, 11.28), (1.00, -3.30, 11.09),
    (2.21, -3.49, 10.13), (1.07, -3.38, 11.04), (0.00, -3.40, 11.25), (-1.07, -3.38, 11.04),
])


def pose_of_points(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Head pose from 68 points, for landmarkers that give none.

    Args:
        points: [68, 2] pixels.
        size: width and height of the picture; its focal length is taken as twice its longer side.

    Returns:
        float32 [3]: yaw, pitch, roll in radians, signs as in `rtau.types.Faces`.
    """
    width, height = size
    focal = 2.0 * max(width, height)
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    # OpenCV's camera looks along z with y down; the head's axes are turned to match before solving.
    head = POINTS * np.array([1, -1, -1])
    solved, turn, _ = cv2.solvePnP(head, np.asarray(points, np.float64), camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not solved:
        return np.zeros(3, np.float32)
    flip = np.diag([1.0, -1.0, -1.0])
    rotation = flip @ cv2.Rodrigues(turn)[0] @ flip
    # The rotation is read as yaw first, then pitch, then roll.
    yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
    pitch = np.arcsin(np.clip(rotation[2, 1], -1, 1))
    roll = np.arctan2(rotation[0, 1], rotation[1, 1])
    return np.array([yaw, pitch, roll], np.float32)
