"""Connections to a Ray cluster, and their errors."""

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
CLIENT = "ray://"  # prefix of addresses of Ray's client

# The start of HTTP/2, which Ray uses: a greeting with a frame of settings, answered by another.
_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
# Ray sends and prints nothing by itself; none of this changes results.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",  # it would report dead nodes on stdout
}


@contextmanager
def ray_session(address: str | None = None) -> Iterator[Any]:
    """Connect to a cluster, and return the module ray; an existing connection is kept.

    Args:
        address: as in `ray_engine.ray_engine`.

    Raises:
        SetupError: Ray is not installed.
        ClusterError: there is no such cluster, or it is of another version.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise SetupError(
            f"engine ray: found no usable package ray ({error}), expected version 2.60 or later: "
            "run `pip install 'hashlens[cluster]'`, or build with --engine local"
        ) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    import psutil  # which Ray brings

    others = _children()
    try:
        _connect(ray, address)
        yield ray
    finally:
        started = [] if address else [child for child in _children() if child not in others]
        ray.shutdown()
        # Some of Ray's processes would outlive this one by a minute.
        for process in psutil.wait_procs(started, timeout=1)[1]:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(started, timeout=1)


def _children() -> list[Any]:
    """Return the processes below this one."""
    import psutil

    return list(psutil.Process().children(recursive=True))


def _connect(ray: Any, address: str | None) -> None:  # noqa: ANN401 (a module)
    """Connect to a cluster, or start one on this machine."""
    where = address or "local"
    own = {} if address else {"include_dashboard": False}
    try:
        if address == "auto":
            from ray._private.services import canonicalize_bootstrap_address_or_die

            where = str(canonicalize_bootstrap_address_or_die(address))
        if address:
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
    """Delay a first Ctrl-C: Ray, half started, would crash when the process ends."""
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


def _check_answers(address: str) -> None:
    """Check that Ray answers; Ray itself would wait for minutes for nobody or another program."""
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
    """Raise our errors as in the task, and lost machines as a `ClusterError`."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayError as error:
        if ours := _own_error(error):
            raise ours from None
        if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
            raise  # a bug of ours: it shows
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if isinstance(error, RayTaskError) else lines[0]
        raise ClusterError(
            f"Ray: a task cannot be done ({reason}), expected machines that stay, have memory for "
            "it and this version of hashlens: look with `ray status`, and build again"
        ) from error


def _own_error(error: BaseException | None) -> HashlensError | None:
    """Return our own error that caused a task's error."""
    from ray.exceptions import RayError

    while error is not None:
        if isinstance(error, HashlensError) and not isinstance(error, RayError):
            return type(error)(str(error).partition("\n")[0])  # Ray adds lines of its own
        error = getattr(error, "cause", None) or error.__cause__
    return None
