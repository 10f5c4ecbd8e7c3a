"""The connection to a Ray cluster: a running one, or a new one of this machine alone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .. import __version__
from ..cores import cores
from ..errors import UsageError

#: Seconds in which a cluster has to answer, and a machine of it has to start a process.
_ANSWER, _START = 10.0, 120.0
#: Only words go through the object store of a cluster that is started here.
_STORE = 200 << 20
#: Ray would take 127.0.0.1 for "whatever address others see".
_LOOPBACK = "127.0.0.2"


def ray_module() -> Any:
    """Ray and its Data, with everything switched off that would send or say something.

    Raises:
        UsageError: they are not installed.
    """
    os.environ.update(RAY_USAGE_STATS_ENABLED="0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'rtau[ray]'") from None
    return ray


@contextlib.contextmanager
def connected(address: str | None, *, cpus: float | None = None, verbose: bool = False) -> Iterator[Any]:
    """Ray, connected for so long; a connection that there is already is used and left.

    Args:
        address: of a running cluster's head, `host:port`, or "auto" for the one that this machine is part of; None for
            what RAY_ADDRESS says, else for a new one of this machine alone.
        cpus: cores of a new one; all by default.
        verbose: let Ray say more.

    Raises:
        UsageError: there is no such cluster, or it runs another version of Ray or of Python.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_address(address)
    # Ray's workers are polite to other programs; those that rtau starts by itself are not either.
    os.environ.setdefault("RAY_worker_niceness", "0")
    options = {"num_cpus": cpus or cores(), "include_dashboard": False, "object_store_memory": _STORE
               } if address == "local" else {}
    if address == "local" and sys.platform == "linux":
        # Whoever reaches a cluster may run programs on it: one of this machine alone listens to this machine alone.
        options["_node_ip_address"] = _LOOPBACK
    with contextlib.nullcontext() if verbose else _hushed():
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=verbose, logging_level=logging.INFO if verbose else logging.ERROR,
                     **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            where = "Ray can't be started here" if address == "local" else f"can't join the cluster at {address}"
            raise UsageError(f"{where}: {first.rstrip('.')}") from None
        if threading.current_thread() is threading.main_thread():
            # Ray would print its stack; a polite kill is to end it like Ctrl-C.
            signal.signal(signal.SIGTERM, terminate)
        try:
            yield ray
        finally:
            with _undisturbed():
                ray.shutdown()


def check_workers(ray: Any) -> None:
    """Look whether each machine of the cluster has this version of rtau.

    Raises:
        UsageError: one has not.
    """
    here = ray.get_runtime_context().get_node_id()
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}

    # Within a function, so that it goes there as it is and not by the name of a module that may not be there.
    def version() -> str:
        try:
            import rtau
        except ImportError:
            return ""
        return rtau.__version__

    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = {ray.remote(version).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy(node, soft=True)).remote():
             name for node, name in nodes.items() if node != here}
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_START) if asked else ([], [])
    for one in ready:
        try:
            found = ray.get(one)
        except ray.exceptions.RayError:
            continue  # the machine is gone
        if found != __version__:
            raise UsageError(f"the cluster's machine {asked[one]} has {f'rtau {found}' if found else 'no rtau'}, and here "
                             f"it is {__version__}: install the same version on all (pip install rtau=={__version__})")


def _check_address(address: str) -> None:
    """Say in seconds what Ray says after minutes."""
    if address in ("local", "auto"):
        return
    if "://" in address:
        raise UsageError(f"--address {address}: give HOST:PORT of the cluster's head, on one of its machines "
                         "(clients from outside are not taken); from outside: ray job submit -- rtau process ...")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--address is {address!r}: give HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"can't reach a cluster at {address} ({said}): check the address, and that ray start --head runs "
                         "there") from None


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep what Ray says away from the terminal; its log files have it."""
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # What it prints of machines that die has no public switch.
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *words, **options: None
    before = sys.stderr
    try:
        own = before.fileno() == 2
    except (OSError, ValueError, AttributeError):
        own = False
    if not own:
        yield
        return
    # Its part in C++ writes to the descriptor; what Python writes goes to another one for the same terminal.
    before.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(os.dup(kept), "w", buffering=1, encoding=before.encoding, errors=before.errors)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Another Ctrl-C does not hinder what is done in here."""
    alone = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if alone else None
    try:
        yield
    finally:
        if alone:
            signal.signal(signal.SIGINT, before)
