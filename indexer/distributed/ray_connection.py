"""A Ray cluster joined and left: connections, what can go wrong with them, and quiet."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from typing import Any

from hashlens.indexer.errors import ClusterError, HashlensError, SetupError

CONNECT_SECONDS = 5.0  # seconds for an address to answer
CLIENT = "ray://"  # begins addresses of Ray's client

# How HTTP/2 begins, which Ray speaks: a greeting with a frame of settings, answered by another.
_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
# Ray is told to keep to itself; none of it changes what is computed.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",  # of nodes that die it would tell on stdout
}


@contextmanager
def ray_session(address: str | None = None) -> Iterator[Any]:
    """The module ray, connected to a cluster; one that was connected to already stays so.

    Args:
        address: as in `cluster.ray_engine`.

    Raises:
        SetupError: Ray is not installed.
        ClusterError: there is no such cluster, or it is of another version.
    """
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    others = _children()
    try:
        _connect(ray, address)
        yield ray
    finally:
        started = [] if address else [child for child in _children() if child not in others]
        ray.shutdown()
        _end(started)


def _ray() -> Any:  # noqa: ANN401 (a module)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SetupError(
            f"engine ray: found no usable package ray ({error}), expected version 2.60 or later: "
            "run `pip install 'hashlens[cluster]'`, or build with --engine local"
        ) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return ray


def _children() -> list[Any]:
    """The processes below this one."""
    import psutil  # which Ray brings

    return list(psutil.Process().children(recursive=True))


def _end(processes: list[Any]) -> None:
    """See to it that processes end: some of Ray's own would outlive it by a minute."""
    import psutil

    for process in psutil.wait_procs(processes, timeout=1)[1]:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=1)


def _connect(ray: Any, address: str | None) -> None:  # noqa: ANN401 (a module)
    """Connect to a cluster, or start one on this machine."""
    where = address or "local"
    own = {} if address else {"include_dashboard": False}
    try:
        if address:
            where = _found(address)
            _check_answers(where)
        with _uninterrupted():
            ray.init(where, log_to_driver=False, logging_level=logging.ERROR, **own)
    except HashlensError:
        raise
    # Ray fails with errors of many classes.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ClusterError(
            f"Ray: cannot connect to {where} ({reason}), expected a cluster that runs with this "
            "version of Python and Ray: look with `ray status`, or leave --address out to start "
            "one on this machine"
        ) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a first Ctrl-C wait: Ray, half begun, would crash when the process ends."""
    if current_thread() is not main_thread():
        yield
        return
    pressed = False

    def press(_number: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    usual = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt


def _found(address: str) -> str:
    """HOST:PORT of the cluster that runs here, where `auto` is asked for; other addresses as such.

    Raises:
        ConnectionError: none runs here.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    return str(canonicalize_bootstrap_address_or_die(address)) if address == "auto" else address


def _check_answers(address: str) -> None:
    """Ray itself waits for minutes where nobody answers, or somebody else than Ray."""
    host, is_whole, port = address.removeprefix(CLIENT).rpartition(":")
    if not (is_whole and port.isdecimal()):
        raise ClusterError(
            f"--address: found {address!r}, expected auto, HOST:PORT such as 10.0.0.1:6379, or "
            f"{CLIENT}HOST:PORT"
        )
    try:
        with socket.create_connection(
            (host.strip("[]"), int(port)), timeout=CONNECT_SECONDS
        ) as line:
            line.sendall(_GREETING)
            if os.environ.get("RAY_USE_TLS", "0") == "0" and line.recv(9)[3:4] != _SETTINGS:
                raise OSError("it speaks another protocol")
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"--address: found no Ray that answers at {address} ({error}), expected the head of a "
            "cluster: start one there with `ray start --head`, or check the address"
        ) from error


@contextmanager
def translate_ray_errors() -> Iterator[None]:
    """Errors of ours as they were raised in a task, and lost machines as one of ours."""
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except (RayError, ExecutionTimeoutError) as error:
        if ours := _ours(error):
            raise ours from None
        if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
            raise  # a bug of ours: it shows
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if isinstance(error, RayTaskError) else lines[0]
        raise ClusterError(
            f"Ray: a task cannot be done ({reason}), expected machines that stay, have memory for "
            "it and this version of hashlens: look with `ray status`, and build again"
        ) from error


def _ours(error: BaseException | None) -> HashlensError | None:
    """The error of ours that a task's error is made of."""
    from ray.exceptions import RayError

    while error is not None:
        if isinstance(error, HashlensError) and not isinstance(error, RayError):
            return type(error)(str(error).partition("\n")[0])  # Ray Data adds lines of its own
        error = getattr(error, "cause", None) or error.__cause__
    return None
