"""How fast rtau is on this machine: what `rtau bench` does, as a library call."""

from .parts import PARTS, Settings, run_bench
from .report import Column, Report, Table, compare, keep_report, read_report, show

__all__ = ["PARTS", "Column", "Report", "Settings", "Table", "compare", "keep_report", "read_report", "run_bench", "show"]
