"""Starts `parler` processes from one that has loaded it already.

Loading takes longer than most commands do. Everything else is as if the command had
been started by hand: a process of its own with its own folder, environment, pipes and
end. What loading itself does is tested where commands start cold, and everything
starts cold when PARLER_TEST_COLD is set.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests._support.polling import WAIT

resource = pytest.importorskip("resource", reason="our processes need POSIX")

CHECKOUT = Path(__file__).resolve().parents[2]
COLD = "PARLER_TEST_COLD"
_LENGTH = struct.Struct("!I")
_PACKAGES = ("parler", "hub")
_NOT_LOADED = ("parler.mcp_server", "parler.cli.mcp")  # a server, slow to load
_STREAMS = ("stdin", "stdout", "stderr")
_LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS)
_ITS_OWN = ("PARLER_", "PYTEST_")


class WarmProcess:
    """What of `subprocess.Popen` is needed of such a process."""

    def __init__(self, command: Sequence[str], news: int) -> None:
        self.args = command
        self.returncode: int | None = None
        self._news = os.fdopen(news, "rb", buffering=0)
        self.pid: int = self._hear(WAIT)

    def poll(self) -> int | None:
        """Its status if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its status once it has ended."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(self._hear(timeout))
            self._news.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)

    def _hear(self, timeout: float) -> int:
        ready, _, _ = select.select([self._news], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return int(_LENGTH.unpack(self._news.read(_LENGTH.size))[0])


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: int,
    stdout: int,
    stderr: int,
) -> "WarmProcess | subprocess.Popen[bytes]":
    """Start ``python -m parler …``, cold if its surroundings ask for that."""
    assert command[:2] == [sys.executable, "-m"]
    wanted = sys.platform.startswith("linux") and not os.environ.get(COLD)
    if not (wanted and _starter().suits(env)):
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr
        )
    return _starter().start(command, cwd=cwd, env=env, fds=(stdin, stdout, stderr))


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes,
    timeout: float,
) -> "subprocess.CompletedProcess[bytes]":
    """`subprocess.run` with all its output captured, for such a process."""
    given, feed = os.pipe()
    out, said = os.pipe()
    err, complained = os.pipe()
    with (
        os.fdopen(feed, "wb", buffering=0) as to_it,
        os.fdopen(out, "rb", buffering=0) as its_out,
        os.fdopen(err, "rb", buffering=0) as its_err,
    ):
        try:
            process = start(
                command,
                cwd=cwd,
                env=env,
                stdin=given,
                stdout=said,
                stderr=complained,
            )
        finally:
            for fd in (given, said, complained):
                os.close(fd)
        try:
            texts = _talk(to_it, stdin, (its_out, its_err), timeout=timeout)
            status = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait(timeout)
            raise
    return subprocess.CompletedProcess(command, status, *texts)


def _talk(
    to_it: io.FileIO,
    stdin: bytes,
    outputs: tuple[io.FileIO, io.FileIO],
    *,
    timeout: float,
) -> tuple[bytes, bytes]:
    """Write all, and read until both outputs have ended."""
    heard = {output: bytearray() for output in outputs}
    reading, left = list(outputs), memoryview(stdin)
    deadline = time.monotonic() + timeout
    os.set_blocking(to_it.fileno(), False)
    while reading:
        if not left:
            to_it.close()
        rest = max(deadline - time.monotonic(), 0)
        ready, writable, _ = select.select(reading, [to_it] if left else [], [], rest)
        if not (ready or writable):
            raise subprocess.TimeoutExpired("parler", timeout)
        if writable:
            try:
                left = left[to_it.write(left) :]
            except BrokenPipeError:  # it does not want to know
                left = left[:0]
        for output in ready:
            data = output.read(65536)
            heard[output] += data
            if not data:
                reading.remove(output)
    return bytes(heard[outputs[0]]), bytes(heard[outputs[1]])


def _environment() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(CHECKOUT)}


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(limit) for limit in _LIMITS]


@functools.cache
def _starter() -> "_Starter":
    return _Starter()


class _Starter:
    """The loaded process, as seen by who wants another one."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._environment = _environment()
        self._limits = _limits()
        self._control, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(number)],
                cwd=CHECKOUT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(number,),
            )
        atexit.register(self.stop)

    def stop(self) -> None:
        """Let the loaded process end."""
        self._control.close()
        self._process.wait(WAIT)

    def suits(self, env: Mapping[str, str]) -> bool:
        """Whether what has been loaded saw the same environment and limits."""
        ours = self._environment
        return self._limits == _limits() and not any(
            env.get(name) != ours.get(name)
            for name in {*env, *ours}
            if name != "HOME" and not name.startswith(_ITS_OWN)
        )

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        fds: tuple[int, int, int],
    ) -> WarmProcess:
        wish = {"arguments": command[2:], "cwd": str(cwd), "env": dict(env)}
        data = json.dumps(wish).encode()
        news, tell = os.pipe()
        try:
            with self._turn:
                head = _LENGTH.pack(len(data))
                socket.send_fds(self._control, [head], [*fds, tell])
                self._control.sendall(data)
        finally:
            os.close(tell)
        return WarmProcess(command, news)


def serve(control: socket.socket) -> None:
    """Start what is asked for until nobody can ask any more.

    Returns in a process that was asked for and has become that command.
    """
    for name in _modules():
        with contextlib.suppress(Exception):  # whoever needs it will see why
            importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    while True:
        head, fds, _, _ = socket.recv_fds(control, _LENGTH.size, 4)
        if not head:
            os._exit(0)
        data = bytearray()
        while left := _LENGTH.unpack(head)[0] - len(data):
            data += control.recv(left)
        wish = json.loads(data)
        if os.fork() == 0:
            control.close()
            _look_after(wish, fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _modules() -> Iterator[str]:
    for package in _PACKAGES:
        root = importlib.import_module(package)
        found = pkgutil.walk_packages(root.__path__, f"{package}.", lambda name: None)
        for module in found:
            if not module.name.endswith("__main__") and module.name not in _NOT_LOADED:
                yield module.name


def _look_after(wish: dict[str, Any], fds: list[int]) -> None:
    """Start the command, tell its number and its end."""
    *streams, tell = fds
    child = os.fork()
    if child == 0:
        os.close(tell)
        _become(wish, streams)
    for fd in streams:
        os.close(fd)
    with contextlib.suppress(BrokenPipeError):  # nobody may care any more
        os.write(tell, _LENGTH.pack(child))
        os.write(tell, _LENGTH.pack(os.waitpid(child, 0)[1]))
    os._exit(0)


def _become(wish: dict[str, Any], streams: list[int]) -> NoReturn:
    """Run the command in this process, to the interpreter's own end."""
    for number, (fd, name) in enumerate(zip(streams, _STREAMS, strict=True)):
        os.dup2(fd, number)
        os.close(fd)
        setattr(sys, name, _like(getattr(sys, name), number))
        setattr(sys, f"__{name}__", getattr(sys, name))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(wish["env"])
    os.chdir(wish["cwd"])
    module, *arguments = wish["arguments"]
    sys.path[0] = wish["cwd"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


def _like(stream: io.TextIOWrapper, number: int) -> io.TextIOBase:
    """A stream as the interpreter makes it for what this number is now."""
    return open(
        number,
        stream.mode,
        buffering=1 if stream.line_buffering else -1,
        encoding=stream.encoding,
        errors=stream.errors,
        closefd=False,
    )


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
