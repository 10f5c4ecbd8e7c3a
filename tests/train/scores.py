"""Made-up truth and predictions, for tests of figures."""

import numpy as np

from rtau_train.figures.predictions import Predictions


def draw_predictions(count=400, labels=4, people=12, *, seed=0, skill=1.5, model="net", prefix="s") -> Predictions:
    """Faces of people who differ in how well they are read; about 5 % of the truth is unknown."""
    rng = np.random.default_rng(seed)
    who = rng.integers(people, size=count)
    grade = (rng.uniform(0.5, 5, (count, labels)) * (rng.random((count, labels)) < 0.3)).astype(np.float32)
    logit = (skill * (grade >= 1) - 1 + rng.normal(0, 0.4, people)[who, None] + rng.normal(0, 1, (count, labels)))
    unknown = rng.random((count, labels)) < 0.05
    signs = np.where(unknown, 0, np.where(grade >= 1, 1, -1)).astype(np.int8)
    return Predictions(
        tuple(f"AU{n:02d}" for n in (1, 2, 4, 6, 12, 25)[:labels]), np.array([f"{prefix}{i:02d}" for i in who]),
        np.array([f"{prefix}{i}.jpg" for i in range(count)]), signs, np.where(unknown, np.nan, grade),
        (1 / (1 + np.exp(-logit))).astype(np.float32), np.clip(logit + 1, 0, 5).astype(np.float32), model)
