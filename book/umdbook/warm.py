"""A process that has imported what chapters import: each notebook runs in a process forked from it.

The graph starts one (`start`) and names it to its jobs in ``UMD_WARM``. ``umdlib run`` hands its command over
(`hand_over`), with its folder, environment and output, and ends as that command ends. Two processes are forked
for each notebook, as they would be started otherwise: one that reads the notebook, and its kernel.
Where there is no such process (macOS, Windows, a cluster, by hand), a notebook's two processes start from nothing.

A second one (``UMD_WARM_NETWORKS``) has imported what networks need, for the jobs that ask segmenters on the CPU. It
has no threads when it forks, and one thread of each numerical library as those jobs have; a GPU is not touched in it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

_PLACE = "UMD_WARM"
_PLACE_OF_NETWORKS = "UMD_WARM_NETWORKS"
_ONE_THREAD = {
    f"{library}_THREADS": "1"
    for library in ("OMP_NUM", "OPENBLAS_NUM", "GOTO_NUM", "MKL_NUM", "NUMEXPR_NUM", "VECLIB_MAXIMUM")
} | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
_GRACE_S = 10.0  # between the sentence that ends a notebook whose caller is gone, and its end

# What notebooks are run with, and what chapters import; folders stand for all that lies in them.
PACKAGES = (
    "papermill.execute",
    "papermill.inspection",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "umdbook.notebook",
)
CHAPTERS = (
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "scipy.ndimage",
    "statsmodels.api",
    "seaborn",
    "myst_nb",
    "umdlib.kernels",
    "umdlib.scores",
    "umdlib.cohort",
    "umdlib.metrics",
    "umdlib.statistics",
    "umdlib.tables",
    "umdlib.figures",
    "umdlib.published",
    "umdlib.viewer",
    "umdbook.page",
    "umdbook.chapters",
)

# What segmenters import, but nnU-Net, which starts threads.
NETWORKS = (
    "umdlib.evaluation",
    "umdlib.segmenters",
    "umdlib.kernels",
    "umdlib.quantities",
    "umdbook.page",
    "torch",
    "monai.networks.nets",
)

# in a forked process: what it talks to its caller with, until its kernel is forked
_caller: list[socket.socket] = []


def start(
    packages: Iterable[str] = (*PACKAGES, *CHAPTERS), *, networks: bool = False
) -> subprocess.Popen | None:
    """Start the process for the commands that this one starts from now on; it ends with this one.

    It imports when the first command comes.

    Parameters
    ----------
    packages
        What it imports.
    networks
        Whether it is for commands that ask segmenters.

    Returns
    -------
    subprocess.Popen or None
        The process; None where it cannot be had (systems other than Linux, too long a path of temporary files).
    """
    from umdbook import kernels

    if sys.platform != "linux":
        return None
    place = f"{tempfile.mkdtemp(prefix='umd-')}/warm"
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(place)
        except OSError:  # a folder for temporary files whose path is too long for a socket's
            os.rmdir(os.path.dirname(place))
            return None
        listener.listen(128)
        settings = _ONE_THREAD | {"PYTHONUTF8": "1", "PYTHONPATH": kernels.search_path()}
        code = f"from umdbook import warm; warm._serve({listener.fileno()}, {place!r}, {tuple(packages)!r})"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            env={n: v for n, v in os.environ.items() if n not in kernels.DROPPED} | settings,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    os.environ[_PLACE_OF_NETWORKS if networks else _PLACE] = place
    return process


def hand_over(arguments: list[str], *, networks: bool = False) -> int | None:
    """Run a command of umdlib in a process forked from the warm one.

    Signals that would end this process end that command; where this process is killed, it is ended too.

    Parameters
    ----------
    arguments
        Of the command.
    networks
        Whether it asks segmenters; where there is no process for such, any will do.

    Returns
    -------
    int or None
        Its exit status; None where there is no warm process, and the command is still to be run.
    """
    place = (os.environ.get(_PLACE_OF_NETWORKS) if networks else "") or os.environ.get(_PLACE)
    if not place or sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PLACE)}
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": environment}
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(place)
            socket.send_fds(connection, [b"\n"], [1, 2])
            connection.sendall(json.dumps(request).encode() + b"\n")
            reply = connection.makefile("r")
            process = int(reply.readline() or 0)
        except OSError:
            return None
        if not process:
            return None
        before = {
            s: signal.signal(s, lambda s, _: _send(process, s)) for s in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            status = reply.readline()
        except OSError:
            status = ""
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if not status:
        print(f"umdlib: the process {process} that ran this was killed.", file=sys.stderr)
    return int(status or 1)


def _send(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _serve(listening: int, place: str, packages: tuple[str, ...]) -> None:
    """Fork a process for each caller, until the process that started this one is gone."""
    from umdbook import kernels

    if sys.path[0] in ("", str(Path.cwd())):  # as the kernel's own start does
        del sys.path[0]
    lifeline = sys.stdin.fileno()
    try:
        with socket.socket(fileno=listening) as listener, kernels.clean_surroundings():
            _fork_for_each(listener, lifeline, packages)
    finally:
        shutil.rmtree(os.path.dirname(place), ignore_errors=True)
    os._exit(0)


def _fork_for_each(listener: socket.socket, lifeline: int, packages: tuple[str, ...]) -> None:
    """Fork a process for each caller that comes before the lifeline is cut."""
    ready = False
    while lifeline not in select.select([listener, lifeline], [], [])[0]:
        caller, _ = listener.accept()
        if not ready:
            _import(packages)
            ready = True
        if len(os.listdir("/proc/self/task")) > 1:  # a lock that a thread holds would stay locked
            print("== notebooks start from nothing: a package runs threads", file=sys.stderr, flush=True)
            return
        if os.fork() == 0:
            listener.close()
            _run(caller)
        caller.close()


def _import(packages: tuple[str, ...]) -> None:
    """Import packages with all modules in those of this project; what fails is left to the chapter."""
    from umdbook.notebook import light_jsonschema

    light_jsonschema()
    for name in packages:
        with suppress(Exception):
            package = import_module(name)
            if name.startswith("umd") and hasattr(package, "__path__"):
                for module in pkgutil.walk_packages(package.__path__, f"{name}."):
                    with suppress(Exception):
                        import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the forked are waited for by nobody
    gc.collect()
    gc.freeze()  # what all share is not written to


def _run(caller: socket.socket) -> NoReturn:
    """Be the process of one command: the caller's folder, environment and output."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        atexit._clear()
        os.setsid()
        _, streams, *_ = socket.recv_fds(caller, 1, 2)
        for number, stream in enumerate([os.open(os.devnull, os.O_RDONLY), *streams]):
            os.dup2(stream, number)
            os.close(stream)
        request = json.loads(caller.makefile("r").readline())
        _settle(request["environment"], request["folder"])
        caller.sendall(f"{os.getpid()}\n".encode())
        _caller.append(caller)
        from umdlib.__main__ import main

        status = main(request["arguments"])
    except BaseException:
        traceback.print_exc()
    _end(status, caller)


def _settle(environment: dict[str, str], folder: str) -> None:
    """Take an environment and a folder; forget what was derived from the last ones."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None


def _end(status: int, caller: socket.socket | None = None) -> NoReturn:
    """End this process without taking apart what it shares with the others."""
    with suppress(BaseException):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    if caller:
        with suppress(OSError):
            caller.sendall(f"{status}\n".encode())
    os._exit(status)


class WaitingKernel:
    """A kernel's process that waits for its command; what a manager of kernels asks of a process."""

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        commands, self._command = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._command)
            _caller.pop().close()
            _be_kernel(commands)
        os.close(commands)

    def begin(self, command: list[str], environment: dict[str, str]) -> None:
        """Start the kernel that this command line would start."""
        arguments = command[command.index("ipykernel_launcher") + 1 :]
        arguments.append(f"--IPKernelApp.parent_handle={os.getpid()}")
        order = {"arguments": arguments, "environment": environment, "folder": os.getcwd()}
        with open(self._command, "w") as pipe:
            json.dump(order, pipe)

    def poll(self) -> int | None:
        """Exit status; None while it lives."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its exit status."""
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            process, status = os.waitpid(self.pid, options)
            if process:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, where it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """End it."""
        self.send_signal(signal.SIGTERM)


def waiting_kernel() -> WaitingKernel | None:
    """A kernel for the first notebook of a forked process; None for others, whose kernels start from nothing."""
    if not _caller or threading.active_count() > 1:
        return None
    caller = _caller[0]
    kernel = WaitingKernel()
    _caller.clear()
    threading.Thread(target=_end_with, args=(caller, kernel), daemon=True).start()
    return kernel


def _end_with(caller: socket.socket, kernel: WaitingKernel) -> None:
    """End this process and its kernel when the caller is gone."""
    with suppress(OSError):
        caller.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    with suppress(OSError):
        os.kill(kernel.pid, signal.SIGKILL)
    os._exit(1)


def _be_kernel(commands: int) -> NoReturn:
    """Wait for a command, then be the kernel that it starts; end where none comes."""
    with open(commands) as pipe:
        text = pipe.read()
    if not text:
        os._exit(0)
    status = 1
    try:
        order = json.loads(text)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        _settle(order["environment"], order["folder"])
        from ipykernel.kernelapp import IPKernelApp

        sys.argv = ["ipykernel_launcher", *order["arguments"]]
        IPKernelApp.launch_instance(order["arguments"])
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(bool(error.code))
    except BaseException:
        traceback.print_exc()
    _end(status)
