"""Run Snakemake on this folder, alone: remove the lock of a run that is certainly over, respect every other.

usage: build.py SNAKEMAKE_ARGUMENT…

A run signs with host, boot, process namespace and process, and renews its sign every few seconds.
Whether a process of another machine or container lives cannot be seen from here: its lock stays.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from umdlib.files import liveness, owner, replaced

LOCKS = Path(".snakemake/locks")
SIGN = Path(".snakemake/run.json")
BEAT_S = 10.0


def verdict() -> str:
    """Say why a lock must stay; empty where the run that made it is certainly over."""
    state = liveness(SIGN)
    if state == "dead":
        return ""
    try:
        signed = json.loads(SIGN.read_text("utf-8"))
        host, process, age = signed["host"], signed["pid"], max(time.time() - signed["seen"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return f"A run that did not sign holds {LOCKS}."
    if state == "living":
        return f"Another run is at work here (process {process})."
    return (
        f"A run on {host} (process {process}; last sign of life {age:.0f} s ago, by its clock) "
        "holds this folder. From here it cannot be seen whether it lives."
    )


def unlock() -> None:
    """Remove a dead run's lock, or end with the reason why it stays."""
    if not LOCKS.is_dir() or not any(LOCKS.iterdir()):
        return
    if reason := verdict():
        sys.exit(f"{reason} Wait for it or stop it; if it is over, `make unlock` removes its lock.")
    for lock in LOCKS.iterdir():
        lock.unlink()
    print("== the last run was cut off: its finished jobs are kept, the rest is done now", flush=True)


def keep_signing(over: threading.Event) -> None:
    """Renew the sign until the run is over."""
    while True:
        with replaced(SIGN) as part:
            part.write_text(json.dumps(owner() | {"seen": time.time()}), "utf-8")
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
