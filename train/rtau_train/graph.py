"""How AUs go together: the adjacency of the graph network, from labels."""

from __future__ import annotations

import numpy as np


def dependency(labels: np.ndarray) -> np.ndarray:
    """AU dependency of Niu et al. (NeurIPS 2019), signed.

    `P_dep = 1/2 (P(a=+1 | b=+1) + P(a=-1 | b=-1))`, then `2 (P_dep - 0.5)`.

    Args:
        labels: [N, C], +1 present, -1 absent, 0 unknown; a pair counts where both are known.

    Returns:
        float64 [C, C] in -1..1, row a, column b; 0 where a pair was never seen.
    """
    present, absent = (labels > 0).astype(np.float64), (labels < 0).astype(np.float64)
    both, neither = present.T @ present, absent.T @ absent
    given_present = both + absent.T @ present
    given_absent = neither + present.T @ absent
    with np.errstate(invalid="ignore", divide="ignore"):
        dep = 0.5 * (both / given_present + neither / given_absent)
    return np.where(np.isfinite(dep), 2 * (dep - 0.5), 0.0)


def adjacency(labels: np.ndarray) -> np.ndarray:
    """The magnitude of `dependency`, normalized symmetrically: `D^-1/2 |A| D^-1/2`, [C, C]."""
    magnitude = np.abs(dependency(labels))
    np.fill_diagonal(magnitude, 1.0)
    scale = 1 / np.sqrt(magnitude.sum(1))
    return magnitude * scale[:, None] * scale[None]
