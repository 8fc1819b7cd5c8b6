"""Systems that live in an environment of their own: a JSON job in, NIfTI masks out, checked."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np

from umdlib.errors import InputError, unknown_name
from umdlib.images import geometry, volume
from umdlib.images.volume import Volume
from umdlib.labels import ORGANS
from umdlib.prompts.prompt import Box, Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.weights import reading as weights

MODALITY = {"HU": "ct", "SUV": "pet", "a.u.": "mri"}
_KEYS_OF_LOG = ("commit", "matched_fraction", "seconds", "peak_bytes", "device", "versions")
SYSTEMS = ("segvol", "sat_pro", "medsam2")


def environment(name: str) -> Path:
    """Folder of a system's environment and checkout: ``UMD_EXTERNAL``, else beside the weights."""
    root = os.environ.get("UMD_EXTERNAL")
    return (Path(root).expanduser() if root else weights.folder().parent / "external") / name


def commands(name: str, *, checkout: str | Path | None = None, python: str | None = None) -> list[list[str]]:
    """Commands that make a system's environment: checkout at its commit, virtual environment, packages.

    A `checkout` of one's own is taken as it is. The package list is pinned to the last package
    (``pinned/NAME.txt``). `python` is its interpreter; by default uv finds one of the version that
    the list names, or fetches it; without uv, one of that name is taken.
    """
    pinned = _pins(name)
    home = environment(name)
    place, packages = str(home / "venv"), str(_package() / "pinned" / f"{name}.txt")
    own = str(home / "venv" / "bin" / "python")
    uv = _uv()
    if uv is not None and python is None:
        made = [
            [uv, "venv", "--python", pinned["python"].removeprefix("python"), place],
            [uv, "pip", "install", "--python", own, "-r", packages],
        ]
    else:
        made = [
            [python or pinned["python"], "-m", "venv", place],
            [own, "-m", "pip", "install", "-r", packages],
        ]
    if checkout is not None:
        return made
    there = str(home / "checkout")
    return [
        ["git", "clone", "--no-checkout", f"https://github.com/{pinned['repository']}", there],
        ["git", "-C", there, "checkout", "--detach", pinned["commit"]],
        *made,
    ]


def _uv() -> str | None:
    """The program uv, beside this Python or on the path; None where it is not here."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return shutil.which("uv", path=os.pathsep.join(places))


def make(
    name: str,
    *,
    checkout: str | Path | None = None,
    python: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Make a system's environment by `commands`; a step that fails shows the end of its log.

    Returns the environment's folder. A half-made one is removed first; a made one is kept, and
    only its checkout changes where another is given.

    Raises
    ------
    InputError
        No such system, a checkout that does not hold its code, or a step that fails.
    """
    if name not in SYSTEMS:
        raise unknown_name("system that runs out of process", name, SYSTEMS)
    home = environment(name)
    if checkout is not None:
        checkout = Path(checkout).expanduser().resolve()
        if not (checkout / _pins(name)["holds"]).is_file():
            raise InputError(
                f"{checkout} is not a checkout of {_pins(name)['repository']}: it holds no "
                f"{_pins(name)['holds']}."
            )
    if (home / "ready.json").exists():
        say(f"{home} is here.")
    else:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for command in commands(name, checkout=checkout, python=python):
            say(" ".join(command))
            _step(command)
    if checkout is not None or not (home / "ready.json").exists():
        where = checkout or home / "checkout"
        ready = {"checkout": str(where), "commit": _commit(where, name)}
        (home / "ready.json").write_text(json.dumps(ready, indent=1) + "\n", "utf-8")
    return home


def unready(name: str) -> str | None:
    """Why a system's environment cannot be used, as a sentence; None if it can."""
    home = environment(name)
    if not (home / "ready.json").exists():
        return f"Its environment is not in {weights.shown(home)}: `umdlib segmenters --make {name}`."
    checkout = json.loads((home / "ready.json").read_text("utf-8"))["checkout"]
    if not (Path(checkout) / _pins(name)["holds"]).is_file():
        return f"Its checkout {checkout} is gone: `umdlib segmenters --make {name}`."
    return None


def job_of(image: Volume, prompt: Prompt, *, file: str, texts: Mapping[str, str | None]) -> dict:
    """The image, structures and prompt of a job; nothing of the reference.

    Clicks are given three times: as the voxel (i, j, k) of the file's own grid that holds them, as a
    fractional voxel, and in world RAS+ mm. A box is the first and last voxel whose centre it holds.
    `texts` maps a structure's name to its text, None where the prompt holds none.
    """
    clicks = [
        {
            "ijk": geometry.nearest_voxel(image.affine, c.xyz_mm, image.shape),
            "voxel": geometry.to_voxel(image.affine, c.xyz_mm).tolist(),
            "ras_mm": list(c.xyz_mm),
            "positive": c.positive,
        }
        for c in prompt.clicks
    ]
    if any(c["ijk"] is None for c in clicks):
        raise InputError(f"A click for '{prompt.structure}' lies outside {image.name}.")
    return {
        "contract": 2,
        "image": file,
        "modality": MODALITY[image.unit],
        "structures": [
            {"name": name, "value": value, "text": text}
            for value, (name, text) in enumerate(texts.items(), start=1)
        ],
        "clicks": clicks,
        "box": None if prompt.box is None else _voxel_range(prompt.box, image),
        "seed": prompt.seed,
    }


class External:
    """A worker in its own environment, started at the first call and kept for the next ones.

    Parameters
    ----------
    name
        Of the system.
    command
        What starts its worker.
    given
        What every job carries: checkpoints, commit, device, settings.
    together
        Structures that are predicted in one job where the prompt is their name alone; their masks
        are kept until another image comes.
    takes_text
        Whether every job carries a text, made of the structure's name where the prompt has none.
    limit_s
        Seconds after which a job is given up.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        given: dict,
        *,
        together: tuple[str, ...] = (),
        takes_text: bool = False,
        limit_s: float = 3600.0,
    ) -> None:
        self._name, self._command, self._given = name, command, given
        self._together, self._takes_text, self._limit = together, takes_text, limit_s
        self._process: subprocess.Popen | None = None
        self._data: np.ndarray | None = None
        self._masks: dict[str, np.ndarray] = {}
        self._home = Path(tempfile.mkdtemp(prefix=f"umd-{name}-"))
        weakref.finalize(self, shutil.rmtree, self._home, ignore_errors=True)
        self.log: dict = {}

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K), its grid and its log checked."""
        if prompt.clicks and prompt.box is not None:
            raise InputError(f"Segmenter '{self._name}' takes clicks or a box, not both.")
        root = self._home
        if self._data is not image.data:
            self._masks.clear()
            volume.write_volume(root / "image.nii.gz", image)
            self._data = image.data
        text = _text(prompt, self._takes_text)
        if text in self._masks:
            return self._masks[text].copy()
        texts = {prompt.structure: text}
        if prompt.structure in self._together and text == _official_text(prompt.structure):
            texts = {name: _official_text(name) for name in self._together}
        masks = self._answer(root, image, prompt, texts)
        if len(texts) > 1:
            self._masks = dict(zip(texts.values(), masks, strict=True))
        return masks[list(texts).index(prompt.structure)]

    def _answer(self, root: Path, image: Volume, prompt: Prompt, texts: dict) -> list[np.ndarray]:
        """One mask per text, in order, from one job."""
        folder = Path(tempfile.mkdtemp(dir=root))
        job = job_of(image, prompt, file=str(root / "image.nii.gz"), texts=texts) | self._given
        (folder / "job.json").write_text(json.dumps(job, indent=1), "utf-8")
        try:
            self._run(folder)
            self.log, masks = _read_result(folder, image, len(texts), self._name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return masks

    def _run(self, folder: Path) -> None:
        """Give the worker a job and wait; the end of its log is shown where it fails."""
        started = time.monotonic()
        process, written = self._worker(), self._log_size()
        with contextlib.suppress(OSError):  # it ended between two jobs; its log says why
            process.stdin.write(f"{folder / 'job.json'}\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self._limit)
        word = process.stdout.readline().strip() if ready else ""
        if word == "done":
            return
        if not ready or word != "failed":
            self.stop()
        if not ready:
            raise InputError(f"Worker of '{self._name}' took over {self._limit:g} s.")
        how = "failed" if word == "failed" else f"ended with status {process.wait()}"
        raise InputError(
            f"Worker of '{self._name}' {how} after {time.monotonic() - started:.0f} s:\n"
            f"{_tail(self._log_text(written))}"
        )

    def _worker(self) -> subprocess.Popen:
        """The running worker; a new one where there is none."""
        if self._process is None or self._process.poll() is not None:
            environ = dict(os.environ) | {"PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}
            environ.pop("PYTHONPATH", None)
            device = self._given.get("device", "cpu")
            if device.startswith("cuda:"):  # the official code knows GPU 0 alone
                environ["CUDA_VISIBLE_DEVICES"] = _visible(environ, int(device.partition(":")[2]))
            with open(self._home / "worker.log", "ab") as log:
                try:
                    self._process = subprocess.Popen(
                        self._command,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                        env=environ,
                    )
                except OSError as error:
                    raise InputError(f"Worker of '{self._name}' cannot start: {error}.") from None
            weakref.finalize(self, _end, self._process)
        return self._process

    def stop(self) -> None:
        """End the worker; the next call starts another."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _log_size(self) -> int:
        """Bytes of the worker's log so far."""
        return (self._home / "worker.log").stat().st_size

    def _log_text(self, start: int) -> str:
        """The worker's log from a byte on."""
        content = (self._home / "worker.log").read_bytes()
        return content[start:].decode("utf-8", "replace")


def _voxel_range(box: Box, image: Volume) -> dict[str, list[int]]:
    """First and last voxel (i, j, k) of a box, both inside."""
    first, last = box.voxels(image.affine, image.shape)
    return {"first": first.tolist(), "last": last.tolist()}


def _visible(environ: dict, number: int) -> str:
    """What makes GPU `number` of those that this process sees the only one of a worker.

    Examples
    --------
    >>> _visible({}, 1), _visible({"CUDA_VISIBLE_DEVICES": "3,5"}, 1)
    ('1', '5')
    """
    seen = [v for v in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if v]
    return seen[number] if number < len(seen) else str(number)


def _read_result(folder: Path, image: Volume, count: int, name: str) -> tuple[dict, list[np.ndarray]]:
    """A worker's log and masks, refused where a grid, a value or the log breaks the contract.

    The log must say that every key of the checkpoints was matched: SAT's loader accepts a file of
    which nothing fits.
    """
    log_file = folder / "log.json"
    if not log_file.is_file():
        raise InputError(f"Worker of '{name}' wrote no log.json.")
    log = json.loads(log_file.read_text("utf-8"))
    absent = [k for k in _KEYS_OF_LOG if k not in log]
    if absent:
        raise InputError(f"Log of '{name}' lacks {', '.join(absent)}.")
    if log["matched_fraction"] != 1:
        raise InputError(
            f"Worker of '{name}' loaded {log['matched_fraction']:.1%} of its checkpoint. Must be all."
        )
    masks = []
    for value in range(1, count + 1):
        label_map = volume.read_label_map(folder / f"{value}.nii.gz", values=(1,))
        difference = volume.grid_difference(label_map, image)
        if difference is not None:
            raise InputError(f"Mask of '{name}' is not on the grid of {image.name}: {difference}.")
        masks.append(label_map.data > 0)
    return log, masks


def _load(device: str = "cpu", *, name: str, files: dict[str, Weights], **options) -> Segment:
    """An external system; `files` are its checkpoints by the worker's names."""
    if (sentence := unready(name)) is not None:
        raise InputError(sentence)
    checkpoints = {}
    for role, item in files.items():
        path = weights.as_published(item, name)
        weights.vet(path)  # its own torch is too old to read numbers of NumPy restricted
        checkpoints[role] = {"path": str(path), "sha256": weights.known_hash(item), "vetted": True}
    return worker_of(name, checkpoints, device, **options)


def worker_of(
    name: str, checkpoints: dict, device: str = "cpu", *, settings: dict | None = None, **options
) -> External:
    """The worker of a made environment around checkpoints; `settings` make it smaller in tests."""
    home = environment(name)
    ready = json.loads((home / "ready.json").read_text("utf-8"))
    script = str(_package() / "workers" / f"{name}.py")
    given = {
        "checkpoints": checkpoints,
        "device": device,
        "settings": settings or {},
        "commit": ready["commit"],
    }
    command = [str(home / "venv" / "bin" / "python"), script, ready["checkout"]]
    return External(name, command, given, **options)


def _step(command: list[str]) -> None:
    """Run one command of `commands`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(
            f"'{' '.join(command)}' cannot start: {error}. '--python PATH' names an interpreter."
        ) from None
    if done.returncode:
        raise InputError(f"'{' '.join(command)}' failed:\n{_tail(done.stdout + done.stderr)}")


def _commit(checkout: Path, name: str) -> str:
    """Commit of a checkout, or in words that it is not known."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    inside = (checkout / ".git").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False) if inside else None
    if done is None or done.returncode:
        return f"unknown (not {_pins(name)['commit']} by git)"
    return done.stdout.strip()


def _pins(name: str) -> dict[str, str]:
    """Head of a system's package list: repository, commit, python, and a file it holds."""
    lines = (_package() / "pinned" / f"{name}.txt").read_text("utf-8").splitlines()
    pairs = (line[1:].split(":", 1) for line in lines if line.startswith("#") and ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _package():
    """Folder of this package's files."""
    return resources.files("umdlib.segmenters.external")


def _end(process: subprocess.Popen) -> None:
    """Close a worker's pipes and stop it."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what it had not read is lost with it
            pipe.close()


def _tail(text: str, lines: int = 15) -> str:
    """The last lines of a log."""
    return "\n".join(text.strip().splitlines()[-lines:])


def _text(prompt: Prompt, takes_text: bool) -> str | None:
    """The prompt's text in the systems' words; of the structure's name where one is needed."""
    if prompt.text:
        return _official_text(prompt.text)
    return _official_text(prompt.structure) if takes_text else None


def _official_text(name: str) -> str:
    """A structure's name, or a text, in SAT's and SegVol's vocabulary: lower case, their spelling.

    Examples
    --------
    >>> _official_text("kidney_left"), _official_text("Oesophagus"), _official_text("bladder")
    ('left kidney', 'esophagus', 'urinary bladder')
    """
    words = name.lower().replace("_", " ").split()
    if words[-1:] in (["left"], ["right"]):
        words = [words[-1], *words[:-1]]
    text = " ".join(words)
    return {"oesophagus": "esophagus", "bladder": "urinary bladder"}.get(text, text)


_SEGVOL_FILE = Weights(
    file="segvol/pytorch_model.bin",
    where="Hugging Face BAAI/SegVol",
    licence="MIT (code)",
    repo="BAAI/SegVol",
    remote="pytorch_model.bin",
)
SEGVOL = Segmenter(
    name="segvol",
    title="SegVol",
    summary="A 3D SAM with text (181 M parameters) that first looks at the whole volume squeezed "
    "to 32 x 256 x 256.",
    load=partial(_load, name="segvol", files={"model": _SEGVOL_FILE}),
    prompts=frozenset({"click", "negative_click", "box", "text"}),
    version="3",
    settings={"worker": "3", "zoom_in": True, "overlap": 0.5},
    weights=(_SEGVOL_FILE,),
    modalities=("CT",),
    paper="arXiv:2311.13385",
    code_licence="MIT",
    trained_on="about 90,000 unlabelled and 6,000 labelled CT scans (rounded)",
    native="points drawn from the reference on the squeezed volume, then a box of its own first "
    "mask in each window",
    grid="the voxels as they are; a metre of body becomes 32 slices",
    users="wants the reference's path for inference (BAAI-DCAI/SegVol#34); needs MONAI 0.9.0",
    external=True,
)
_SAT_FILE = Weights(
    file="sat/SAT_Pro.pth",
    where="Hugging Face zzh99/SAT, Pro/",
    licence="none in the repository",
    repo="zzh99/SAT",
    remote="Pro/SAT_Pro.pth",
)
_SAT_TEXT_FILE = Weights(
    file="sat/text_encoder.pth",
    where="Hugging Face zzh99/SAT, Pro/ (it belongs to SAT_Pro.pth); the official code also loads "
    "FremyCompany/BioLORD-2023-C from there at its start, or from a copy of that repository in the "
    "folder sat/biolord",
    licence="none in the repository",
    repo="zzh99/SAT",
    remote="Pro/text_encoder.pth",
)
SAT = Segmenter(
    name="sat_pro",
    title="SAT-Pro",
    summary="Segments by a structure's name in words (476 M parameters).",
    load=partial(
        _load,
        name="sat_pro",
        files={"model": _SAT_FILE, "text_encoder": _SAT_TEXT_FILE},
        together=tuple(s.name for s in ORGANS),
        takes_text=True,
    ),
    prompts=frozenset({"text", "class"}),
    version="3",
    settings={"worker": "3", "patches": "288 x 288 x 96"},
    weights=(_SAT_FILE, _SAT_TEXT_FILE),
    paper="arXiv:2312.17183",
    code_licence="none in the repository",
    trained_on="22,176 scans: 7,473 CT, 13,678 MR, 1,025 PET (tumours only; no organ on PET)",
    native="the same; its script writes masks with an identity affine on the processed grid",
    grid="1 x 1 x 3 mm, RAS, cropped to the positive, patches of 288 x 288 x 96",
    users="a wrong checkpoint runs and fails silently (zhaoziheng/SAT#26); its README asks for 34 GB of GPU "
    "memory; two float32 volumes per structure in memory: 18 GB for a field of 700 mm",
    external=True,
)
_MEDSAM2_FILE = Weights(
    file="medsam2/MedSAM2_latest.pt",
    where="Hugging Face wanglab/MedSAM2",
    licence="CC BY-SA 4.0, and for research and education only (its card)",
    size=156_040_129,
    sha256="c92743b99f00d078bf32a3afcc38aaa9faf1c1692dffe3eaa7a90938c1991060",
    repo="wanglab/MedSAM2",
    remote="MedSAM2_latest.pt",
    revision="e4a6f35edd7e091619cbc0750f462f1574e23955",
)
MEDSAM2 = Segmenter(
    name="medsam2",
    title="MedSAM2",
    summary="SAM 2.1 tiny trained on medical volumes: a box or clicks in one axial slice, whose mask is followed "
    "through all others as the frames of a video.",
    load=partial(_load, name="medsam2", files={"model": _MEDSAM2_FILE}),
    prompts=frozenset({"click", "box"}),
    settings={"worker": "1", "side": 512},
    weights=(_MEDSAM2_FILE,),
    paper="arXiv:2504.03600",
    code_licence="Apache-2.0",
    trained_on="more than 455,000 3D image-mask pairs and 76,000 frames of video (abstract); whether PET is among "
    "them was not found",
    native="a box around a lesion's diameter in one slice; its mask prompts the slices above, then those below",
    grid="axial slices, 512 x 512; greys as MedSAM's; holes of 8 pixels are filled only where the checkout's "
    "compiled extension loads",
    users="of a 3D box the middle axial slice is taken, and the mask is followed beyond the box's ends, as the "
    "official script does; all clicks lie in one slice",
    external=True,
)
