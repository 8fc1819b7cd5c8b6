"""Kernels with surroundings of their own: what the caller's shell sets does not reach a page."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import umdbook
import umdlib
from umdbook import warm

# What a shell may set that changes what a kernel is, reads or draws.
DROPPED = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_CONFIG_PATH",
    "JUPYTER_DATA_DIR",
    "JUPYTER_PATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
)


@contextmanager
def clean_surroundings() -> Iterator[None]:
    """Give the kernels that start inside the same surroundings on every machine.

    Backend and style of matplotlib, Jupyter's and IPython's folders, the search path of Python and
    the encoding are set; a folder for sockets is made and removed. What a user's own model needs
    (``CUDA_VISIBLE_DEVICES``, ``UMD_WEIGHTS`` …) stays.
    """
    before = dict(os.environ)
    folder = tempfile.mkdtemp(prefix="umd-")  # short: the path of a socket has about 100 characters
    try:
        for name in DROPPED:
            os.environ.pop(name, None)
        os.environ.update(_settings(Path(folder)))
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def search_path() -> str:
    """Where a kernel finds this project's packages, before all else."""
    packages = (str(Path(p.__file__).resolve().parents[1]) for p in (umdlib, umdbook))
    return os.pathsep.join(dict.fromkeys(packages))


def _settings(folder: Path) -> dict[str, str]:
    """Variables of a kernel."""
    settings = {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(folder),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONPATH": search_path(),
        "PYTHONUTF8": "1",
    }
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin:
        settings["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
    home = Path(os.path.expanduser("~"))
    if not (home.is_dir() and os.access(home, os.W_OK)):
        settings["MPLCONFIGDIR"] = str(folder / "matplotlib")
    return settings


def kernel_manager():
    """Class of managers whose kernels talk through sockets in a folder, not through numbered ports.

    Many kernels that start at once cannot take each other's port. Where there are no such sockets
    (Windows), ports are used. In a process that was forked for one notebook the kernel is forked too.
    """
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    kernel = warm.waiting_kernel()

    class Manager(AsyncKernelManager):
        transport = "ipc" if hasattr(socket, "AF_UNIX") and sys.platform != "win32" else "tcp"

        @default("ip")
        def _place_of_sockets(self) -> str:
            if self.transport == "tcp":
                return "127.0.0.1"
            # jupyter_client's own choice is one name in the working folder for all kernels
            return str(Path(tempfile.mkdtemp(dir=os.environ.get("JUPYTER_RUNTIME_DIR"))) / "kernel")

        async def _async_launch_kernel(self, kernel_cmd, **more) -> None:
            if kernel is None or "ipykernel_launcher" not in kernel_cmd:
                await super()._async_launch_kernel(kernel_cmd, **more)
                return
            kernel.begin(kernel_cmd, more["env"])
            started = self.provisioner
            started.process, started.pid, started.pgid, started.cwd = (
                kernel,
                kernel.pid,
                kernel.pid,
                Path.cwd(),
            )
            self._reconcile_connection_info(started.connection_info)

    return Manager
