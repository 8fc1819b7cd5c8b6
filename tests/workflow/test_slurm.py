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
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
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
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
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


def waited(condition, seconds, what):
    """What a condition gives as soon as it holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.5)
    pytest.fail(f"{what} within {seconds} s")


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """A Slurm of one node in a temporary folder, as this user; gone afterwards."""
    if absent := [name for name in PROGRAMS if program(name) is None]:
        pytest.skip(f"no {', '.join(absent)} (Debian: apt install slurm-wlm munge)")
    folder = tmp_path_factory.mktemp("slurm")
    for place in (folder, folder / "state", folder / "spool"):
        place.mkdir(exist_ok=True)
        place.chmod(0o755)  # MUNGE refuses a socket where others can write
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("", 0))
        ports = [one.getsockname()[1] for one in sockets]
    settings = {"host": platform.node(), "user": getpass.getuser(), "folder": folder, "ports": ports}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**settings))
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{SEARCHED}")
    wrapper = folder / "srun"  # within a job the variable is taken away, as all that begins so
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program("srun")} "$@"\n')
    wrapper.chmod(0o755)
    given = {k: f"{folder}/munge.{k}" for k in ("socket", "pid", "log", "seed")}
    words = ["--key-file", str(key), "--socket", given["socket"], "--pid-file", given["pid"], "--force"]
    words += ["--log-file", given["log"], "--seed-file", given["seed"]]
    try:
        for command in (["munged", *words], ["slurmctld"], ["slurmd"]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{command[0]} does not start here: {done.stderr.strip()[-200:]}")
        state = ["sinfo", "--noheader", "--format=%t"]
        waited(lambda: "idle" in subprocess.run(state, capture_output=True, text=True).stdout, 30, "no node")
        yield folder
    finally:
        for pid in sorted(folder.glob("*.pid"), reverse=True):  # slurmd, slurmctld, munge
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid.read_text()), signal.SIGTERM)


def jobs(state):
    """Numbers of the jobs that are in a state."""
    words = ["squeue", "--noheader", f"--states={state}", "--format=%i"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


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
    try:
        with open(log, "w") as file:
            process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            killed = waited(lambda: process.poll() is None and jobs("RUNNING"), 120, "no job ran")[0]
            subprocess.run(["scancel", "--full", "--signal=KILL", killed], check=True)
            status = process.wait(600)
        finally:
            process.kill()
        said = log.read_text()
        assert status == 0, said[-3000:]
        assert "Trying to restart job" in said  # the kill was felt
        table = read_scores(run / "scores.parquet")
    finally:
        shutil.rmtree(run, ignore_errors=True)
    settings = evaluation.Settings(evaluation.parse_plans(prompts))
    names = ["threshold", "region_growing"]
    local = evaluation.score_cohort(read_cohort(manifest), names, tmp_path / "local", settings=settings)
    assert table.drop(columns=MEASURED).equals(local.drop(columns=MEASURED))
