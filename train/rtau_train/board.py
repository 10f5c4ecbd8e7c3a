"""What a study shows while it runs: runs done, those at work, time left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .study import Order


class Board:
    """A bar in a terminal, and a line for each run that ends; a context manager.

    Args:
        orders: all of them.
        done: results of those that were done before.
        jobs: how many run at a time.
        console: where to, instead of standard error.
    """

    def __init__(self, orders: Sequence[Order], done: Sequence[dict[str, Any]], jobs: int,
                 console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._total, self._jobs = len(orders), jobs
        self._left = Counter(order.variant for order in orders)
        self._seconds: dict[str, list[float]] = {}
        self._bar = Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
                             console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=self._total)
        for result in done:
            self._note(result["order"]["variant"], result)
        if done and len(done) < len(orders):
            self._say(f"{len(done)} of {len(orders)} trainings are done already, {self.time_left()}")

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)  # type: ignore[arg-type]

    def watch(self, running: Sequence[Order]) -> None:
        """These are at work."""
        names = "; ".join(f"{order.variant}, {order.labels}, seed {order.seed}" for order in running)
        self._bar.update(self._task, completed=self._total - self._left.total(),
                         description=f"{self.time_left()} ({names})")

    def tell(self, order: Order, result: dict[str, Any] | str) -> None:
        """One has ended: with a result, or with why it failed."""
        self._note(order.variant, None if isinstance(result, str) else result)
        if isinstance(result, str):
            figures = f"failed: {result}"
        else:
            figures = " ".join(f"{title} {result['figures'][key]:.3f}" for key, title in
                               (("auc", "AUC"), ("f1", "F1"), ("icc", "ICC")) if result["figures"][key] is not None)
            figures += f", {result['seconds']:.0f} s"
        self._say(f"{self._total - self._left.total()}/{self._total} {order.variant}, {order.labels} of the labels, "
                  f"seed {order.seed}: {figures}; {self.time_left()}")

    def time_left(self) -> str:
        """By how long such runs took, as far as any did."""
        known = [seconds for of in self._seconds.values() for seconds in of]
        if not known:
            return "time left unknown yet"
        left = sum(count * float(np.mean(self._seconds.get(variant, known))) for variant, count in self._left.items())
        left /= self._jobs
        return f"{left / 3600:.1f} h left" if left >= 5400 else f"{left / 60:.0f} min left"

    def _note(self, variant: str, result: dict[str, Any] | None) -> None:
        self._left[variant] -= 1
        if result is not None:
            self._seconds.setdefault(variant, []).append(result["seconds"])

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)
