"""The graph on a Slurm of one node, started here where its packages are installed: a job is killed, nothing is lost."""

import contextlib
import getpass
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from umdbook import graph
from umdlib import evaluation
from umdlib.cohort.manifest import read_cohort
from umdlib.scores.table import read_scores

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scancel", "setpriv")
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
MEASURED = ["seconds", "peak_mb"]  # differ between any two runs
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SlurmdParameters=config_overrides
NodeName={host} CPUs=2 RealMemory=64000
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def program(name):
    """Path of a program of Slurm or MUNGE."""
    return shutil.which(name, path=SEARCHED)


def output_of(*words):
    """What a command of Slurm prints; empty where it fails or does not answer."""
    with contextlib.suppress(subprocess.SubprocessError):
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
    return ""


def jobs(state):
    """Numbers of the jobs that are in a state."""
    return output_of("squeue", "--noheader", f"--states={state}", "--format=%i").split()


def waited(condition, seconds):
    """What a condition gives as soon as it holds; None where it does not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.5)
    return None


def free_ports(count):
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def settle(folder, cgroups):
    """Write the key and the configuration of a Slurm of one node; the command of MUNGE."""
    for place in (folder, folder / "state", folder / "spool"):
        place.mkdir(exist_ok=True)
        place.chmod(0o755)  # MUNGE refuses a socket where others can write
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    settings = {"host": platform.node(), "user": getpass.getuser(), "folder": folder, "ports": free_ports(2)}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**settings))
    if cgroups:
        (folder / "cgroup.conf").write_text(f"CgroupPlugin={cgroups}\n")
    wrapper = folder / "srun"  # within a job the variable is taken away, as all that begins so
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program("srun")} "$@"\n')
    wrapper.chmod(0o755)
    files = [f"--{name}={folder}/munge.{name}" for name in ("socket", "pid-file", "seed-file")]
    return ["munged", "--foreground", "--force", f"--key-file={key}", *files]


def fault_of_start(folder, cgroups, daemons):
    """Start MUNGE and Slurm in a folder: empty once the node is idle, else the last lines of who does not work."""

    def start(name, *command):
        with open(folder / f"{name}.log", "w") as log:
            words = ["setpriv", "--pdeathsig=KILL", *command]  # none outlives this process
            daemons[name] = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def ended():
        return [name for name, process in daemons.items() if process.poll() is not None]

    def works(condition, seconds):
        return waited(lambda: ended() or condition(), seconds) and not ended()

    start("munged", *settle(folder, cgroups))
    working = works((folder / "munge.socket").exists, 20)
    if working:
        start("slurmctld", "slurmctld", "-D")
        start("slurmd", "slurmd", "-D")
        working = works(lambda: "idle" in output_of("sinfo", "--noheader", "--format=%t"), 60)
    if working:
        return ""
    name = (ended() or list(daemons))[-1]
    return f"{name}: {' / '.join((folder / f'{name}.log').read_text().splitlines()[-3:])}"


def end_all_of(folder, processes=()):
    """End what was started with the folder in its environment: daemons, steps, and what jobs run."""
    name = os.fsencode(str(folder))
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            number = int(place.parent.name)
            if number != os.getpid() and name in place.read_bytes():
                os.kill(number, signal.SIGKILL)
    for process in processes:
        process.wait(30)


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """A Slurm of one node in a temporary folder, as this user; gone afterwards."""
    if absent := [name for name in PROGRAMS if program(name) is None]:
        pytest.skip(f"no {', '.join(absent)} (Debian: apt install slurm-wlm munge)")
    faults = []
    for cgroups in ("", "disabled"):  # a container may have none for Slurm, which older ones do not use here
        folder, daemons = tmp_path_factory.mktemp("slurm"), {}
        monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{SEARCHED}")
        try:
            faults.append(fault_of_start(folder, cgroups, daemons))
            if not faults[-1]:
                yield folder
                return
        finally:
            end_all_of(folder, daemons.values())
    pytest.skip(f"Slurm does not start here: {'; then '.join(faults)}")


@pytest.mark.timeout(900)
@pytest.mark.slow  # two jobs and a killed one, each with an interpreter, a Snakemake and a kernel of its own
def test_the_graph_on_slurm_gives_the_local_table_although_a_job_is_killed(cluster, make_cohort, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    manifest, prompts = make_cohort(1, tmp_path / "on a cluster"), "centre:1:1"
    run = ROOT / "results" / graph.run_name("small", str(manifest))
    command = [sys.executable, "-m", "snakemake", str(run.relative_to(ROOT) / "scores.parquet")]
    command += ["--snakefile", "workflow/Snakefile", "--configfile", "workflow/small.yaml", "--nolock"]
    command += ["--workflow-profile", "workflow/slurm", "--latency-wait", "10"]
    command += ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
    command += ["--config", f"cohort={manifest}", "segmenters=threshold,region_growing", f"prompts={prompts}"]
    log = tmp_path / "snakemake.log"
    with open(log, "w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        killed = waited(lambda: process.poll() is None and jobs("RUNNING"), 120)
        assert killed, f"no job ran: {log.read_text()[-3000:]}"
        subprocess.run(["scancel", "--full", "--signal=KILL", killed[0]], check=True, timeout=30)
        ended = waited(lambda: process.poll() is not None, 420)
        told = log.read_text()
        assert ended and process.returncode == 0, told[-3000:]
        assert "Trying to restart job" in told  # the kill was felt
        table = read_scores(run / "scores.parquet")
    finally:
        end_all_of(cluster, [process])
        shutil.rmtree(run, ignore_errors=True)
    settings = evaluation.Settings(evaluation.parse_plans(prompts))
    names = ["threshold", "region_growing"]
    local = evaluation.score_cohort(read_cohort(manifest), names, tmp_path / "local", settings=settings)
    assert table.drop(columns=MEASURED).equals(local.drop(columns=MEASURED))
