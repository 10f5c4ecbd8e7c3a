"""Keeps rtau to its word that nothing is sent anywhere.

OpenVINO's package depends on `openvino-telemetry` and reports its own import and every
`openvino.convert_model` to a statistics service, unless the user's home folder holds a file that
declines. rtau imports OpenVINO only through here, with that reporter out of reach: OpenVINO then
takes the empty stand-in it ships for machines without the package.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType

_lock = threading.Lock()
_absent = object()


def import_openvino() -> ModuleType:
    """The `openvino` package, imported without its telemetry.

    If the program around rtau imported OpenVINO before, that import has already reported itself and
    this returns it as it is. Don't call `openvino.convert_model` on it: the PyTorch frontend
    (`openvino.frontend`) converts without reporting.

    Raises:
        ImportError: OpenVINO is not installed, or can't be loaded on this machine.
    """
    with _lock:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        reporter = sys.modules.get("openvino_telemetry", _absent)
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None makes its import fail
        try:
            return importlib.import_module("openvino")
        finally:
            if reporter is _absent:
                del sys.modules["openvino_telemetry"]
            else:
                sys.modules["openvino_telemetry"] = reporter
