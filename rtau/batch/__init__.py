"""Many files: found, dealt out to worker processes, done once each, accounted for.

`work` does one task, from plain data to plain data, wherever it runs; `run_batch` does many on this machine.
"""

from .run import auto_jobs, run_batch
from .task import Record, Task
from .work import work

__all__ = ["Record", "Task", "auto_jobs", "run_batch", "work"]
