"""Systems that live in an environment of their own: a JSON job in, a NIfTI mask out, checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np

from umdlib import geometry, volume, weights
from umdlib.errors import InputError
from umdlib.prompts import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.volume import Volume

MODALITY = {"HU": "ct", "SUV": "pet", "a.u.": "mri"}
KEYS_OF_LOG = ("commit", "matched_fraction", "seconds")


def environment(name: str) -> Path:
    """Folder of a system's environment and checkout: ``UMD_EXTERNAL``, else beside the weights."""
    root = os.environ.get("UMD_EXTERNAL")
    return (Path(root).expanduser() if root else weights.folder().parent / "external") / name


def job_of(image: Volume, prompt: Prompt, *, file: str, text: str, weight: Path) -> dict:
    """The job that a worker reads: everything it may know, and nothing of the reference.

    Clicks are given twice: as voxel (i, j, k) in the file's own grid and in world RAS+ mm.
    """
    clicks = [
        {
            "ijk": geometry.nearest_voxel(image.affine, c.xyz_mm, image.shape),
            "ras_mm": list(c.xyz_mm),
            "positive": c.positive,
        }
        for c in prompt.clicks
    ]
    if any(c["ijk"] is None for c in clicks):
        raise InputError(f"A click for '{prompt.structure}' lies outside {image.name}.")
    return {
        "contract": 1, "image": file, "modality": MODALITY[image.unit],
        "structures": [{"name": prompt.structure, "value": 1, "text": text}],
        "clicks": clicks, "seed": prompt.seed,
        "checkpoint": {"path": str(weight), "sha256": weights.sha256(weight)},
    }  # fmt: skip


def commands(name: str) -> list[list[str]]:
    """What makes a system's environment: checkout at its commit, virtual environment, packages.

    The package list is pinned (``external/NAME.txt``); the commands are printed by
    ``umdlib segmenters --make NAME`` before they run.
    """
    pinned = _pins(name)
    home = environment(name)
    repository, commit = pinned["repository"], pinned["commit"]
    checkout, python = str(home / "checkout"), str(home / "venv" / "bin" / "python")
    return [
        ["git", "clone", "--no-checkout", f"https://github.com/{repository}", checkout],
        ["git", "-C", checkout, "checkout", "--detach", commit],
        [pinned["python"], "-m", "venv", str(home / "venv")],
        [python, "-m", "pip", "install", "-r", str(_data(f"{name}.txt"))],
    ]


def make(name: str, *, say: Callable[[str], None] = print) -> Path:
    """Make a system's environment by `commands`; a step that fails shows the end of its log.

    Returns the environment's folder. A half-made one is removed first.
    """
    home = environment(name)
    if (home / "ready").exists():
        say(f"{home} is here.")
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    for command in commands(name):
        say(" ".join(command))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"'{' '.join(command)}' failed:\n{_tail(done.stdout + done.stderr)}")
    (home / "ready").write_text(_pins(name)["commit"] + "\n", "utf-8")
    return home


def unready(name: str) -> str | None:
    """Why a system's environment cannot be used, as a sentence; None if it can."""
    home = environment(name)
    if not (home / "ready").exists():
        return (
            f"Its environment is not in {weights.shown(home)}: 'umdlib segmenters --make {name}'."
        )
    if not (home / "worker.py").exists():
        return (
            f"Its worker {weights.shown(home / 'worker.py')} is missing: a script around the official code that "
            f"keeps the file contract (job.json in; mask.nii.gz and log.json out)."
        )
    return None


class External:
    """A worker that is started once per call, in its own environment."""

    def __init__(
        self,
        name: str,
        python: Path,
        worker: Path,
        weight: Path,
        *,
        phrase: Callable[[str], str],
        limit_s: float = 3600.0,
    ) -> None:
        self._name, self._python, self._worker = name, python, worker
        self._weight, self._phrase, self._limit = weight, phrase, limit_s

    def __call__(
        self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None
    ) -> np.ndarray:
        """Boolean mask (I, J, K), its grid and its log checked."""
        with tempfile.TemporaryDirectory(prefix=f"umd-{self._name}-") as folder:
            root = Path(folder)
            volume.write_volume(root / "image.nii.gz", image)
            job = job_of(
                image, prompt, file=str(root / "image.nii.gz"), weight=self._weight,
                text=prompt.text or self._phrase(prompt.structure),
            )  # fmt: skip
            (root / "job.json").write_text(json.dumps(job, indent=1), "utf-8")
            self._run(root)
            return read_result(root, image, self._name)

    def _run(self, root: Path) -> None:
        """Start the worker and wait; its log is shown where it fails."""
        command = [str(self._python), str(self._worker), str(root / "job.json"), str(root)]
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=self._limit
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"Worker of '{self._name}' took over {self._limit:g} s.") from None
        except OSError as error:
            raise InputError(f"Worker of '{self._name}' cannot start: {error}.") from None
        if done.returncode:
            raise InputError(
                f"Worker of '{self._name}' ended with status {done.returncode} after "
                f"{time.monotonic() - started:.0f} s:\n{_tail(done.stderr or done.stdout)}"
            )


def read_result(root: Path, image: Volume, name: str) -> np.ndarray:
    """A worker's mask, refused where its grid, its values or its log break the contract.

    The log must say that every key of the checkpoint was matched: SAT's loader accepts a file of
    which nothing fits.
    """
    log_file, mask_file = root / "log.json", root / "mask.nii.gz"
    if not log_file.is_file():
        raise InputError(f"Worker of '{name}' wrote no log.json.")
    log = json.loads(log_file.read_text("utf-8"))
    absent = [k for k in KEYS_OF_LOG if k not in log]
    if absent:
        raise InputError(f"Log of '{name}' lacks {', '.join(absent)}.")
    if log["matched_fraction"] != 1:
        raise InputError(
            f"Worker of '{name}' loaded {log['matched_fraction']:.1%} of its checkpoint. Must be all."
        )
    label_map = volume.read_label_map(mask_file, values=(1,))
    difference = volume.grid_difference(label_map, image)
    if difference is not None:
        raise InputError(f"Mask of '{name}' is not on the grid of {image.name}: {difference}.")
    return label_map.data > 0


def _loader(name: str, item: Weights, phrase: Callable[[str], str]) -> Callable[[str], Segment]:
    """`load` of an external system."""

    def load(device: str = "cpu") -> Segment:
        if (sentence := unready(name)) is not None:
            raise InputError(sentence)
        home = environment(name)
        return External(
            name, home / "venv" / "bin" / "python", home / "worker.py",
            weights.verified(item, name), phrase=phrase,
        )  # fmt: skip

    return load


def _pins(name: str) -> dict[str, str]:
    """Repository, commit and Python of a system: the ``# key: value`` head of its package list."""
    lines = _data(f"{name}.txt").read_text("utf-8").splitlines()
    pairs = (line[1:].split(":", 1) for line in lines if line.startswith("#") and ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _data(file: str):
    """A pinned list of the package."""
    return resources.files("umdlib") / "segmenters" / "pinned" / file


def _tail(text: str, lines: int = 15) -> str:
    """The last lines of a log."""
    return "\n".join(text.strip().splitlines()[-lines:])


def sat_text(structure: str) -> str:
    """SAT's name of a structure (lower case, of its vocabulary).

    Examples
    --------
    >>> sat_text("kidney_left"), sat_text("urinary_bladder")
    ('left kidney', 'urinary bladder')
    """
    words = structure.split("_")
    if words[-1] in ("left", "right"):
        words = [words[-1], *words[:-1]]
    return " ".join(words)


def segvol_text(structure: str) -> str:
    """SegVol's sentence, whatever the modality."""
    return f"A computerized tomography of a {sat_text(structure)}."


SEGVOL_FILE = Weights(
    file="segvol/pytorch_model.bin", where="Hugging Face BAAI/SegVol", licence="MIT (code)",
    repo="BAAI/SegVol", remote="pytorch_model.bin",
)  # fmt: skip
SEGVOL = Segmenter(
    name="segvol",
    title="SegVol",
    summary="A 3D SAM with text (181 M parameters) that first looks at the whole volume squeezed "
    "to 32 x 256 x 256.",
    load=_loader("segvol", SEGVOL_FILE, segvol_text),
    prompts=frozenset({"click", "text"}),
    weights=(SEGVOL_FILE,),
    modalities=("CT",),
    paper="arXiv:2311.13385",
    code_licence="MIT",
    trained_on="about 90,000 unlabelled and 6,000 labelled CT scans (rounded)",
    native="points drawn from the reference on the squeezed volume, then a box of its own first "
    "mask in each window",
    grid="the voxels as they are; a metre of body becomes 32 slices",
    users="wants the reference's path for inference (BAAI-DCAI/SegVol#34); needs MONAI 0.9.0",
    deterministic=False,
    external=True,
)
SAT_FILE = Weights(
    file="sat/SAT_Pro.pth", where="Hugging Face zzh99/SAT, Pro/ (with its text_encoder.pth)",
    licence="none in the repository", repo="zzh99/SAT", remote="Pro/SAT_Pro.pth",
)  # fmt: skip
SAT = Segmenter(
    name="sat_pro",
    title="SAT-Pro",
    summary="Segments by a structure's name in words (476 M parameters).",
    load=_loader("sat_pro", SAT_FILE, sat_text),
    prompts=frozenset({"text"}),
    weights=(SAT_FILE,),
    paper="arXiv:2312.17183",
    code_licence="none in the repository",
    trained_on="22,176 scans: 7,473 CT, 13,678 MR, 1,025 PET (tumours only; no organ on PET)",
    native="the same; its script writes masks with an identity affine on the processed grid",
    grid="1 x 1 x 3 mm, RAS, cropped to the positive, patches of 288 x 288 x 96",
    users="a wrong checkpoint runs and fails silently (zhaoziheng/SAT#26)",
    external=True,
)
