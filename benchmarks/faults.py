"""What is lost when a run is killed, its disk fills or its files are damaged: faults planted, tables compared.

    python benchmarks/faults.py [--trials 20] [--graph 20] [--add] [--out results/faults.json]

A small cohort is scored once without a fault. Then faults strike the same command, most at random moments, and
it is given again until it ends. The score table (all but seconds and memory), its stamp, and every prediction and
prompt on disk must equal the first run's to the bit, or a sentence must say what is wrong; all else counts as lost.
The exit status is 1 where something was. A fault that is not tried keeps its row in the results; `--add` adds
up with what stands there (give another `--seed`), so that long rounds can be had in parts. Runs are forked from
this process, so that the fault strikes the work and not the imports. Linux; a full disk is a small file system
in memory where one can be mounted, else a limit of the size of files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timing

from umdlib.__main__ import main as umdlib_main
from umdlib.cohort.manifest import write_manifest, write_structures
from umdlib.errors import InputError
from umdlib.files import file_hash
from umdlib.images.volume import LabelMap, Volume, write_label_map, write_volume
from umdlib.labels import Structure
from umdlib.scores.table import read_scores

RESULTS = Path(__file__).parent / "results" / "faults.json"
PROJECT = Path(__file__).resolve().parents[1]
SEGMENTERS, PROMPTS = "threshold,region_growing", "centre:1:1"
SHAPE = (40, 34, 24)
FORK = multiprocessing.get_context("fork")
MEASURED = ("seconds", "peak_mb")  # differ between any two runs
LATE_S = 0.01
SLOWED = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.scandir")


def write_cohort(folder: Path, subjects: int = 3) -> Path:
    """Write subjects with a ball and a rod in CT and PET; returns the manifest."""
    rows, grid = [], np.indices(SHAPE).transpose(1, 2, 3, 0) * 4.0
    for number in range(1, subjects + 1):
        rng = np.random.default_rng(number)
        labels = np.zeros(SHAPE, np.uint8)
        labels[((grid - (60, 60 + number, 48)) ** 2).sum(-1) < 22**2] = 1
        labels[((grid - (115, 80, 0))[..., :2] ** 2).sum(-1) < 10**2] = 2
        for modality, unit, means in (("CT", "HU", (-100, 60, 90)), ("PET", "SUV", (0.3, 5.0, 3.0))):
            image = np.array(means, np.float32)[labels]
            image += rng.normal(0, 0.3 * abs(means[1]), SHAPE).astype(np.float32)
            name = f"sub-{number:03d}_{modality}"
            affine = np.diag([4.0, 4.0, 4.0, 1.0])
            write_volume(folder / f"{name}.nii.gz", Volume(image, affine, unit))
            write_label_map(folder / f"{name}_dseg.nii.gz", LabelMap(labels, affine))
            row = {"subject": f"sub-{number:03d}", "session": "petct", "modality": modality, "unit": unit}
            rows.append(row | {"image": f"{name}.nii.gz", "reference": f"{name}_dseg.nii.gz"})
    write_structures(
        folder / "dseg.tsv",
        [Structure(1, "ball", "Ball", "Ba", "#e69f00"), Structure(2, "rod", "Rod", "Ro", "#56b4e9")],
    )
    return write_manifest(folder / "manifest.tsv", rows)


@dataclass(frozen=True)
class Outcome:
    """What a trial came to: did the fault strike, was something said, was the result the same in the end."""

    struck: bool
    said: bool
    equal: bool


@dataclass
class Sweep:
    """A command on a cohort, what it gives without a fault, and the seconds that it takes."""

    manifest: Path
    folder: Path
    expected: tuple = ()
    seconds: float = 0.0
    segmenters: str = SEGMENTERS

    def run_without_fault(self) -> None:
        """Run once in this process, which loads and compiles, and once for result and time."""
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            umdlib_main(self.words(self.root("first-0")))
        started = time.monotonic()
        self.expect(self.root("first-1"))
        self.seconds = time.monotonic() - started
        self.expected = result_of(self.folder / "first-1")

    def root(self, name: str) -> Path:
        """A folder for a run."""
        root = self.folder / name
        shutil.rmtree(root, ignore_errors=True)
        return root

    def words(self, root: Path) -> list[str]:
        """The command."""
        given = ["score", str(self.manifest), "--segmenters", self.segmenters]
        return [*given, "--prompts", PROMPTS, "--out", str(root)]

    def start(self, root: Path, setup: Callable[[], None] | None = None):
        """Start the command in a process of its own, after `setup` in it."""
        process = FORK.Process(target=_command, args=(self.words(root), self.log(root), setup))
        process.start()
        return process

    def log(self, root: Path) -> Path:
        """What the last command of a folder has printed."""
        return self.folder / f"{root.name}.log"

    def said(self, root: Path) -> bool:
        """Whether the last command has ended with a sentence of this project, and no traceback."""
        text = self.log(root).read_text("utf-8", "replace")
        return "umdlib: " in text and "Traceback" not in text

    def expect(self, root: Path, setup: Callable[[], None] | None = None) -> None:
        """Run the command to its end, which must be a good one."""
        process = self.start(root, setup)
        process.join()
        if process.exitcode:
            raise SystemExit(f"status {process.exitcode}:\n{self.log(root).read_text()[-2000:]}")

    def resumed(self, root: Path, setup: Callable[[], None] | None = None) -> bool:
        """Give the command again; whether the result is that of a run without a fault."""
        self.expect(root, setup)
        return same(result_of(root), self.expected)


def _command(words: list[str], log: Path, setup: Callable[[], None] | None) -> None:
    """The other process: score the cohort, printing to a file."""
    with open(log, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        if setup is not None:
            setup()
        status = umdlib_main(words)
    os._exit(status)


def result_of(root: Path) -> tuple:
    """Score table without what is measured, its stamp, and the hash of each prediction and prompt."""
    table = read_scores(root / "scores.parquet")
    files = (p for p in sorted((root / "cases").rglob("*")) if p.is_file() and p.name != "scores.parquet")
    digests = {str(p.relative_to(root)): file_hash(p) for p in files}
    stamp = {k: v for k, v in table.attrs["stamp"].items() if k != "commit"}  # somebody may commit meanwhile
    return table.drop(columns=[c for c in MEASURED if c in table]), stamp, digests


def same(one: tuple, other: tuple) -> bool:
    """Whether two results are equal to the bit."""
    return one[0].equals(other[0]) and one[1:] == other[1:]


def killed(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """kill -9 at random moments of a sweep."""
    outcomes = []
    for n in range(trials):
        root = sweep.root(f"killed-{n}")
        process = sweep.start(root)
        process.join(rng.uniform(0.02, sweep.seconds))
        process.kill()
        process.join()
        outcomes.append(Outcome(process.exitcode == -signal.SIGKILL, False, sweep.resumed(root)))
        shutil.rmtree(root)
    return outcomes


def full(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """A disk that fills, earlier or later in the sweep."""
    run = sweep.folder / "first-1"
    sizes = [4096 * (1 + p.stat().st_size // 4096) for p in run.rglob("*") if p.is_file()]
    outcomes = []
    for n in range(trials):
        root, share = sweep.root(f"full-{n}"), (n + 0.5) / trials
        root.mkdir()
        size = 4096 * (1 + int(sum(sizes) * share) // 4096)
        disk = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(root)]
        mounted = os.geteuid() == 0 and not subprocess.run(disk, capture_output=True, check=False).returncode
        limit = int(max(sizes) * share)
        try:
            process = sweep.start(root, None if mounted else lambda limit=limit: _small_files(limit))
            process.join()
            if mounted:
                subprocess.run(["mount", "-o", "remount,size=256m", str(root)], check=True)
            outcomes.append(Outcome(process.exitcode != 0, sweep.said(root), sweep.resumed(root)))
        finally:
            if mounted:
                subprocess.run(["umount", str(root)], check=True)
        shutil.rmtree(root)
    return outcomes


def _small_files(limit: int) -> None:
    """Let no file grow beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def slow(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """A disk on which every operation is late, and a kill on it."""
    outcomes = []
    for n in range(trials):
        root = sweep.root(f"slow-{n}")
        process = sweep.start(root, _late_files)
        process.join(rng.uniform(0.1, 2 * sweep.seconds))
        process.kill()
        process.join()
        outcomes.append(Outcome(process.exitcode == -signal.SIGKILL, False, sweep.resumed(root, _late_files)))
        shutil.rmtree(root)
    return outcomes


def _late_files() -> None:
    """Have everything that opens, moves or makes a file wait."""
    sys.addaudithook(lambda event, given: time.sleep(LATE_S) if event in SLOWED else None)


def read_only(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """A folder that cannot be written, empty or with a run that was cut off."""
    outcomes = []
    for n in range(trials):
        root = sweep.root(f"closed-{n}")
        root.mkdir()
        if n % 2:
            process = sweep.start(root)
            process.join(sweep.seconds / 2)
            process.kill()
            process.join()
        modes = {p: p.stat().st_mode for p in [root, *root.rglob("*")] if p.is_dir()}
        for folder in modes:
            folder.chmod(0o555)
        process = sweep.start(root, _as_nobody)
        process.join()
        for folder, mode in modes.items():
            folder.chmod(mode)
        outcomes.append(Outcome(process.exitcode != 0, sweep.said(root), sweep.resumed(root)))
        shutil.rmtree(root)
    return outcomes


def _as_nobody() -> None:
    """Give up the rights of root, who can write everywhere."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def two_at_once(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """Two runs of one command on one folder at one time."""
    outcomes = []
    for n in range(trials):
        root = sweep.root(f"two-{n}")
        first = sweep.start(root)
        time.sleep(rng.uniform(0, sweep.seconds / 4))
        second = sweep.start(root)
        first.join()
        second.join()
        good = first.exitcode == second.exitcode == 0
        equal = good and same(result_of(root), sweep.expected)
        outcomes.append(Outcome(True, False, equal and sweep.resumed(root)))
        shutil.rmtree(root)
    return outcomes


def exchanged(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """An image or reference that is replaced while the run reads; rows are of one of its contents, or failed."""
    outcomes = []
    for n in range(trials):
        folder = sweep.folder / "exchanged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sweep.manifest.parent, folder / "cohort")
        file = folder / "cohort" / ("sub-002_PET_dseg.nii.gz" if n % 2 else "sub-002_PET.nii.gz")
        before, other = file.read_bytes(), (file.parent / file.name.replace("002", "003")).read_bytes()
        here = Sweep(folder / "cohort" / "manifest.tsv", folder, sweep.expected, segmenters=sweep.segmenters)
        file.write_bytes(other)
        here.expect(folder / "other")
        known = [sweep.expected[0], result_of(folder / "other")[0]]
        file.write_bytes(before)
        process = here.start(folder / "run")
        process.join(rng.uniform(0.05, 0.8 * sweep.seconds))
        _put(file, other)
        process.join()
        mixed = _of_neither(read_scores(folder / "run" / "scores.parquet"), known)
        said = "was changed while the run read it" in here.log(folder / "run").read_text("utf-8")
        _put(file, before)
        outcomes.append(Outcome(said, said, not mixed and here.resumed(folder / "run")))
    return outcomes


def _put(file: Path, content: bytes) -> None:
    """Replace a file in one move."""
    part = file.with_suffix(".part")
    part.write_bytes(content)
    part.replace(file)


def _of_neither(table, known: list) -> int:
    """Number of rows with a number that no known table has."""
    keys = ["subject", "modality", "structure", "segmenter", "prompt", "step", "seed"]
    numbers = [t.set_index(keys)[["dice", "hausdorff", "prediction_ml"]] for t in known]
    rows = table[table["status"].isin(["ok", "prediction_empty"])].set_index(keys)[numbers[0].columns]
    return sum(not any(row.equals(t.loc[key]) for t in numbers) for key, row in rows.iterrows())


def flipped(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """One bit of a score table flipped: it is refused, or no value has changed."""
    path = sweep.folder / "first-1" / "scores.parquet"
    content, whole = path.read_bytes(), read_scores(path)
    outcomes = []
    for _ in range(trials):
        path.write_bytes(_with_a_flip(content, rng))
        try:
            outcomes.append(Outcome(False, False, read_scores(path).equals(whole)))
        except InputError:
            outcomes.append(Outcome(True, True, True))
    path.write_bytes(content)
    return outcomes


def damaged(sweep: Sweep, trials: int, rng: np.random.Generator) -> list[Outcome]:
    """One bit of any file of a run flipped, and the same command given again."""
    run, outcomes = sweep.folder / "first-0", []
    sweep.expect(run)  # hashes of files are kept once the files are older than a moment
    files = [p for p in sorted(run.rglob("*")) if p.is_file() and p.stat().st_size]
    for n in range(trials):
        file = files[int(rng.integers(len(files)))] if n else run / "hashes.json"
        file.write_bytes(_with_a_flip(file.read_bytes(), rng))
        equal = sweep.resumed(run)
        outcomes.append(Outcome(True, "made anew" in sweep.log(run).read_text("utf-8"), equal))
    return outcomes


def _with_a_flip(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def graph(sweep: Sweep, trials: int, rng: np.random.Generator) -> Iterator[Outcome]:
    """kill -9 at random moments of a small graph, which is started again after each; those that ended so far."""
    from umdbook.graph import run_name

    run = PROJECT / "results" / run_name("small", str(sweep.manifest))
    target = run / "scores.parquet"
    command = [
        sys.executable,
        "workflow/build.py",
        str(target.relative_to(PROJECT)),
        "--snakefile",
        "workflow/Snakefile",
    ]
    command += ["--cores", "1", "--configfile", "workflow/small.yaml", "--rerun-incomplete", "--quiet", "all"]
    command += ["--config", f"cohort={sweep.manifest}", "segmenters=threshold", f"prompts={PROMPTS}"]

    started_here: list[subprocess.Popen] = []

    def start() -> subprocess.Popen:
        with open(sweep.folder / "graph.log", "w") as log:
            process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True)
        started_here.append(process)
        return process

    def finish() -> tuple:
        if start().wait():
            raise SystemExit((sweep.folder / "graph.log").read_text()[-2000:])
        return result_of(run)

    try:
        shutil.rmtree(run, ignore_errors=True)
        started = time.monotonic()
        expected, seconds = finish(), time.monotonic() - started
        done, struck = 0, 0
        while done < trials:
            if not struck:
                shutil.rmtree(run)
            process = start()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.2, 0.9) * seconds)
            ended = process.poll()
            if ended is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                struck += 1
            if ended == 0 or struck == 3 or done + struck >= trials:  # three kills, then to the end
                yield from [Outcome(True, False, same(finish(), expected))] * struck
                done, struck = done + struck, 0
    finally:
        for process in started_here:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(run, ignore_errors=True)


def row(name: str, outcomes: list[Outcome]) -> dict:
    """The figures of one fault."""
    return {
        "fault": name,
        "tried": len(outcomes),
        "struck": sum(o.struck for o in outcomes),
        "with a sentence": sum(o.struck and o.said for o in outcomes),
        "equal in the end": sum(o.equal for o in outcomes),
        "lost": sum(not o.equal for o in outcomes),
    }


def measure(trials: int, of_graph: int, seed: int, segmenters: str, rows: list[dict]) -> None:
    """Add the figures of every fault to `rows`; when this is ended before, those of the trials so far."""
    few = max(trials // 4, 2) if trials else 0
    plan = {
        "kill -9 during a sweep": (killed, trials),
        "kill -9 during a graph": (graph, of_graph),
        "a disk that fills": (full, max(trials // 2, 2 * bool(trials))),
        "a slow disk, and kill -9": (slow, few),
        "a folder that cannot be written": (read_only, few),
        "two runs on one folder": (two_at_once, few),
        "an input replaced while it is read": (exchanged, few),
        "one bit of a score table": (flipped, 20 * trials),
        "one bit of any file of a run": (damaged, trials),
    }
    folder = Path(tempfile.mkdtemp(prefix="umd-faults-"))
    try:
        folder.chmod(0o755)  # of all users, since one run is another's
        sweep = Sweep(write_cohort(folder / "cohort"), folder, segmenters=segmenters)
        sweep.run_without_fault()
        for name, (plant, count) in plan.items():
            outcomes: list[Outcome] = []
            try:
                outcomes.extend(plant(sweep, count, np.random.default_rng(seed)) if count else ())
            finally:
                if outcomes:
                    rows.append(row(name, outcomes))
                    print(rows[-1], flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_former(rows: list[dict], former: list[dict], *, add: bool) -> list[dict]:
    """Rows of all faults: those tried now (with `add`, together with their former trials), former ones else."""
    now, before = ({r["fault"]: r for r in some} for some in (rows, former))
    if add:
        for name in now.keys() & before.keys():
            now[name] = now[name] | {k: v + now[name][k] for k, v in before[name].items() if k != "fault"}
    return list((before | now).values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trials", type=int, default=20, help="kills of a sweep; the others follow (default 20)"
    )
    parser.add_argument("--graph", type=int, default=20, help="kills of a graph (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--segmenters", default=SEGMENTERS, help="that the sweep asks")
    parser.add_argument("--add", action="store_true", help="add to the trials that the results have")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays mounted
    rows: list[dict] = []
    try:
        measure(given.trials, given.graph, given.seed, given.segmenters, rows)
    finally:
        former = json.loads(given.out.read_text("utf-8"))["faults"] if given.out.is_file() else []
        record = {"machine": timing.machine(), "faults": with_former(rows, former, add=given.add)}
        given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if any(r["lost"] for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
