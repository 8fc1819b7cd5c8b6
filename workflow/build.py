"""Run Snakemake on this folder, alone: remove the lock of a run that is certainly over, respect every other.

usage: build.py SNAKEMAKE_ARGUMENT…

A run signs with host, boot, process namespace and process, and renews its sign every few seconds.
Whether a process of another machine or container lives cannot be seen from here: its lock stays.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

LOCKS = Path(".snakemake/locks")
SIGN = Path(".snakemake/run.json")
BEAT_S = 10.0


def here() -> dict:
    """Where this process runs: host, boot and process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux: one process namespace
        boot, namespace = str(int(psutil.boot_time())), ""
    return {"host": platform.node(), "boot": boot, "namespace": namespace}


def sign() -> dict:
    """What a run writes of itself."""
    return {**here(), "process": os.getpid(), "started": psutil.Process().create_time(), "seen": time.time()}


def verdict(signed: dict | None) -> str:
    """Say why a lock must stay; empty where the run that made it is certainly over."""
    if signed is None:
        return f"A run that did not sign holds {LOCKS}."
    process = signed["process"]
    if {k: signed[k] for k in ("host", "boot", "namespace")} == here():
        try:
            alive = abs(psutil.Process(process).create_time() - signed["started"]) < 2
        except psutil.Error:
            alive = False
        return f"Another run is at work here (process {process})." if alive else ""
    age = max(time.time() - signed["seen"], 0)
    return (
        f"A run on {signed['host']} (process {process}; last sign of life {age:.0f} s ago, by its clock) "
        "holds this folder. From here it cannot be seen whether it lives."
    )


def read_sign() -> dict | None:
    """The last sign in this folder; None where there is none that can be read."""
    try:
        signed = json.loads(SIGN.read_text("utf-8"))
        return signed if {*here(), "process", "started", "seen"} <= signed.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def unlock() -> None:
    """Remove a dead run's lock, or end with the reason why it stays."""
    if not LOCKS.is_dir() or not any(LOCKS.iterdir()):
        return
    if reason := verdict(read_sign()):
        sys.exit(f"{reason} Wait for it or stop it; if it is over, `make unlock` removes its lock.")
    for lock in LOCKS.iterdir():
        lock.unlink()
    print("== the last run was cut off: its finished jobs are kept, the rest is done now", flush=True)


def keep_signing(over: threading.Event) -> None:
    """Renew the sign until the run is over."""
    while True:
        part = SIGN.with_suffix(".part")
        part.write_text(json.dumps(sign()), "utf-8")
        part.replace(SIGN)
        if over.wait(BEAT_S):
            SIGN.unlink(missing_ok=True)
            return


def main(arguments: list[str]) -> int:
    """Exit status of Snakemake."""
    unlock()
    SIGN.parent.mkdir(exist_ok=True)
    over = threading.Event()
    signing = threading.Thread(target=keep_signing, args=(over,), daemon=True)
    run = subprocess.Popen([sys.executable, "-m", "snakemake", *arguments])
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the terminal sends it to Snakemake too, which ends its jobs
    signal.signal(signal.SIGTERM, lambda *_: run.terminate())
    signing.start()
    status = run.wait()
    over.set()
    signing.join()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
