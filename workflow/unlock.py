"""Remove the lock that a killed run left behind; a run that is still alive keeps its lock."""

import sys
from pathlib import Path

import psutil

LOCKS = Path(".snakemake/locks")


def alive() -> list[int]:
    """Process ids of Snakemake runs in this folder, this script's own parents not counted."""
    own = {p.pid for p in psutil.Process().parents()}
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        line = process.info["cmdline"] or []
        if "snakemake" in line and process.info["cwd"] == str(Path.cwd()):
            found.append(process.info["pid"])
    return [pid for pid in found if pid not in own]


if LOCKS.is_dir() and any(LOCKS.iterdir()):
    if running := alive():
        sys.exit(f"Another run is at work here (process {running[0]}). Wait for it or stop it.")
    for lock in LOCKS.iterdir():
        lock.unlink()
    print("== the last run was cut off: its finished jobs are kept, the rest is done now")
