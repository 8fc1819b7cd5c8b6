"""A certificate: what a program does with axes, millimetres, names, repeats, absent structures and files beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path

import numpy as np

from umdlib.canaries import checks
from umdlib.canaries.scenes import Scene
from umdlib.canaries.wrapper import Outcome, Run, ask
from umdlib.files import file_hash
from umdlib.images import orientation
from umdlib.images.partner import OUTSIDE
from umdlib.images.volume import LabelMap, Volume, write_label_map
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Prompt

# Masks that should be one: interpolation on another grid may move a border, not more.
ALIKE = 0.9
# A mask of a structure that is not in view may hold so few voxels (noise of a network's border).
STRAY = 10
SHIFT_MM = (37.0, -58.0, 211.0)

# fault -> what it means; those of masks against references are of `checks.FAULTS`
FAULTS: dict[str, str] = {
    "failed": "it gives no mask",
    "not_a_mask": "what it writes is not a mask",
    "grid_lost": "the mask is not on the grid of the image",
    "touches_image": "it changes the image file",
    "storage_order": "the same image stored in another order of axes gives another mask",
    "not_in_mm": "an image and its prompt moved together give another mask",
    "not_repeatable": "the same call gives another mask",
    "partner_misplaced": "the same second image stored in another order of axes gives another mask",
    "answers_outside": "it marks a structure that the image does not hold",
    "reads_beside": "the mask changes with a reference that lies beside the image",
    "stale": "another image under the same name gives the mask of the first",
    "other_weights": "the weights are not the ones that were named",
    "weights_ignored": "the mask is the same with damaged weights",
    "weights_changed": "the weight file is another one after the calls",
} | {
    k: v
    for k, v in checks.FAULTS.items()
    if k not in ("reads_reference", "control_missed", "not_repeatable", "above_ceiling")
}

# Names under which programs look for references beside an image.
DECOYS = (
    *(f"image_{word}.nii.gz" for word in ("seg", "dseg", "mask", "label", "gt")),
    *("reference.nii.gz", "label.nii.gz", "seg.nii.gz", "labelsTr/image.nii.gz"),
)

PASS, FAIL, OPEN = "pass", "fail", "not judged"


@dataclass(frozen=True)
class Verdict:
    """One canary.

    Attributes
    ----------
    check
        What was tested.
    state
        ``pass``, ``fail`` or ``not judged``.
    faults
        Of `FAULTS`.
    detail
        What was seen.
    how
        How it was found.
    """

    check: str
    state: str
    faults: tuple[str, ...]
    detail: str
    how: str


@dataclass(frozen=True)
class Certificate:
    """All verdicts on a program.

    Attributes
    ----------
    program, source
        What was tested, on which image, in words.
    verdicts
        In order.
    calls
        How often it was called.
    weights
        sha256 of the weight file; empty where none was named.
    """

    program: str
    source: str
    verdicts: tuple[Verdict, ...]
    calls: int
    weights: str = ""

    @property
    def faults(self) -> tuple[str, ...]:
        """All faults, each once."""
        return tuple(dict.fromkeys(f for v in self.verdicts for f in v.faults))


def certify(
    run: Run,
    scene: Scene,
    program: str,
    *,
    weights: str | Path | None = None,
    sha256: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Certificate:
    """Run a program ten to fifteen times in ways that are known to change, or not to change, its mask.

    Parameters
    ----------
    run
        The program.
    scene
        Image, references and kind of prompt.
    program
        What the certificate calls it.
    weights
        Its weight file: hashed, and damaged in a copy where the program takes ``{weights}``.
    sha256
        What the hash should be; empty where it is not known.
    say
        Called with one line per canary.

    Returns
    -------
    Certificate
        A fault is a suspicion with its evidence, not a proof. No file of the references is ever within
        the program's reach, but for the decoys of one canary.
    """
    trial = _Trial(run, scene, Path(weights) if weights else None, sha256.lower())
    verdicts = []
    for canary in CANARIES + (PARTNERED if scene.partner is not None else ()):
        verdict = canary(trial)
        verdicts.append(verdict)
        say(f"{verdict.state:10} {verdict.check}{': ' if verdict.detail else ''}{verdict.detail}")
        if canary is _contract and not any(o.mask is not None for o in trial.first.values()):
            break
    verdicts += [_weights(trial)] if trial.weights is not None else []
    digest = file_hash(trial.weights) if trial.weights is not None else ""
    return Certificate(program, scene.source, tuple(verdicts), trial.calls, digest)


class _Trial:
    """A program under certification: its first answers, and how often it was called."""

    def __init__(self, run: Run, scene: Scene, weights: Path | None, expected: str) -> None:
        self.run, self.scene, self.weights, self.expected, self.calls = run, scene, weights, expected, 0
        self.before = file_hash(weights) if weights is not None else ""
        self.first = {n: self.ask(scene, scene.prompt(n)) for n in scene.references}

    def ask(self, scene: Scene, prompt: Prompt, **more) -> Outcome:
        """One question."""
        self.calls += 1
        more.setdefault("weights", self.weights)
        return ask(self.run, scene.image, prompt, scene.modality, partner=scene.partner, **more)

    def found(self) -> dict[str, np.ndarray]:
        """Masks that hold a voxel, by structure.

        Raises
        ------
        _Open
            There is none.
        """
        marked = {n: o.mask for n, o in self.first.items() if o.mask is not None and o.mask.any()}
        if not marked:
            raise _Open("it marks nothing in this image")
        return marked

    def example(self) -> tuple[str, np.ndarray]:
        """The structure that it found best, with its mask."""
        marked = self.found()
        best = max(marked, key=lambda n: dice(self.scene.references[n], marked[n]))
        return best, marked[best]


class _Open(Exception):
    """A canary that cannot judge, and why."""


def _canary(check: str, how: str):
    """Make a canary of a function that gives faults and detail: its name, and how it finds them."""

    def named(judge: Callable[[_Trial], tuple[tuple[str, ...], str]]) -> Callable[[_Trial], Verdict]:
        @wraps(judge)
        def canary(trial: _Trial) -> Verdict:
            try:
                faults, detail = judge(trial)
            except _Open as reason:
                return Verdict(check, OPEN, (), str(reason), how)
            return Verdict(check, FAIL if faults else PASS, tuple(faults), detail, how)

        return canary

    return named


@_canary(
    "a mask on the grid of the image",
    "Shape, place of all corners and values of every mask file are compared with the image's; the image file is "
    "hashed before and after.",
)
def _contract(trial: _Trial):
    """Whether every call gave a mask on the image's grid."""
    bad = {n: o for n, o in trial.first.items() if o.fault}
    detail = "; ".join(f"{n}: {o.detail}" for n, o in list(bad.items())[:3])
    return tuple(dict.fromkeys(o.fault for o in bad.values())), detail or f"{len(trial.first)} masks"


@_canary(
    "orientation and wiring of names",
    "Masks are compared with the known answer as they stand, under every flip, order of axes and "
    "shift, and with the answers to all other names (best assignment).",
)
def _known_answers(trial: _Trial):
    """Orientation and wiring of names against the known answer."""
    found = {n: o.mask for n, o in trial.first.items() if o.mask is not None}
    if not found:
        raise _Open("there is no mask")
    references = {n: trial.scene.references[n] for n in found}
    findings = checks.check_masks([found], [references], "program", trial.scene.modality)
    mean = float(np.mean([dice(references[n], m) for n, m in found.items()]))
    detail = " ".join(f.detail for f in findings) or f"mean Dice {mean:.2f} over {len(found)} structures"
    return [f.fault for f in findings], detail


@_canary(
    "order of the axes in the file",
    "The image is stored with its axes turned (no voxel changes its place in the world) and the mask "
    f"turned back: at least {ALIKE:g} Dice with the first.",
)
def _storage(trial: _Trial):
    """The same image with its axes in another order."""
    turned = replace(trial.scene, image=_turned(trial.scene.image))
    name, first = trial.example()
    given = trial.ask(turned, trial.scene.prompt(name))
    if given.mask is not None:
        given = replace(given, mask=orientation.turned(given.mask, orientation.turned_back(_TURN)))
    return _alike(name, first, given, "storage_order")


def _alike(name: str, first: np.ndarray, given: Outcome, fault: str) -> tuple[tuple[str, ...], str]:
    """Whether a structure has its first mask, on the first grid, when it is given in another way."""
    value = dice(first, given.mask) if given.mask is not None else 0.0
    return () if value >= ALIKE else (fault,), f"{name}: " + (given.detail or f"Dice {value:.3f}")


_TURN = np.array([[1, -1], [2, 1], [0, 1]])


def _turned(image: Volume) -> Volume:
    """The same image stored with its axes in another order."""
    return replace(
        image,
        data=np.asfortranarray(orientation.turned(image.data, _TURN)),
        affine=orientation.turned_affine(image.affine, image.shape, _TURN),
    )


@_canary(
    "place of the prompt in the world",
    f"Everything that is given, prompt and all images, is moved by {', '.join(f'{v:g}' for v in SHIFT_MM)} mm; "
    f"voxels and their order stay: at least {ALIKE:g} Dice with the first.",
)
def _shift(trial: _Trial):
    """All that is given moved together in the world."""
    move = np.eye(4)
    move[:3, 3] = SHIFT_MM
    moved = _placed(trial.scene, image=move, partner=move)
    name, first = trial.example()
    return _alike(name, first, trial.ask(moved, moved.prompt(name)), "not_in_mm")


def _placed(scene: Scene, **moves: np.ndarray) -> Scene:
    """The scene with its images moved in the world, each by a matrix (4, 4)."""
    images = {which: getattr(scene, which) for which in moves if getattr(scene, which) is not None}
    return replace(scene, **{w: replace(v, affine=moves[w] @ v.affine) for w, v in images.items()})


def _unchanged(name: str, first: np.ndarray, given: Outcome, fault: str, verb: str):
    """Whether a structure has its first mask to the voxel."""
    changed = -1 if given.mask is None else int(np.count_nonzero(first ^ given.mask))
    return (fault,) if changed else (), f"{name}: {given.detail or f'{changed} voxels {verb}'}"


@_canary("the same call twice", "The same files are given again; every voxel must be the same.")
def _repeat(trial: _Trial):
    """The same call twice."""
    name, first = trial.example()
    given = trial.ask(trial.scene, trial.scene.prompt(name))
    return _unchanged(name, first, given, "not_repeatable", "differ")


@_canary(
    "a structure outside the field of view",
    "The image is cut so that a structure is out of view. The program is then given its name, or a "
    f"click where it was: an error or an empty mask (at most {STRAY} voxels) is right.",
)
def _outside(trial: _Trial):
    """A structure outside the field of view."""
    name, _ = trial.example()
    if trial.scene.kind == "box":
        raise _Open("a box outside an image is none")
    cut = trial.scene.without(name)
    if cut is None:
        raise _Open(f"no part of the image is without {name}")
    given = trial.ask(cut, trial.scene.prompt(name))
    if given.mask is None:
        return (), f"{name}: refused ({given.detail})"
    count = int(given.mask.sum())
    return (
        "answers_outside",
    ) if count > STRAY else (), f"{name}: {count} voxels marked of {given.mask.size}"


@_canary(
    "firewall: nothing is read but image and prompt",
    "By construction: each call sees a new folder with image and prompt under neutral names; the "
    "references are never written. In one more call altered references lie beside the image under the "
    "usual names: no voxel may change.",
)
def _firewall(trial: _Trial):
    """References beside the image."""
    name, first = trial.example()
    altered = np.roll(trial.scene.references[name], 5, axis=0)
    decoy = LabelMap(np.asfortranarray(altered, dtype=np.uint8), trial.scene.image.affine)

    def beside(folder: Path) -> None:
        for file in (*DECOYS, f"segmentations/{name}.nii.gz"):
            (folder / file).parent.mkdir(exist_ok=True)
            write_label_map(folder / file, decoy)

    given = trial.ask(trial.scene, trial.scene.prompt(name), beside=beside)
    return _unchanged(name, first, given, "reads_beside", "changed")


@_canary(
    "another image under the same name",
    "The image is mirrored in its first axis and given in a new folder, and under the name of an image "
    "that was given before: both masks must be the same.",
)
def _stale(trial: _Trial):
    """Another image under the name of the first."""
    name, _ = trial.example()
    scene = trial.scene
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = scene.image.shape[0] - 1
    mirror = scene.image.affine @ flip @ np.linalg.inv(scene.image.affine)
    other = replace(
        _placed(scene, partner=mirror),
        image=replace(scene.image, data=np.asfortranarray(scene.image.data[::-1])),
        references={n: m[::-1] for n, m in scene.references.items()},
    )
    fresh = trial.ask(other, other.prompt(name))
    with tempfile.TemporaryDirectory(prefix="certify-") as folder:
        trial.ask(scene, scene.prompt(name), folder=Path(folder))
        again = trial.ask(other, other.prompt(name), folder=Path(folder))
    if fresh.mask is None or again.mask is None:
        return ("failed",), f"{name}: {fresh.detail or again.detail}"
    return _unchanged(name, fresh.mask, again, "stale", "differ")


@_canary(
    "order of the axes in the file of the second image",
    "The second image is stored with its axes turned (no voxel changes its place in the world): at least "
    f"{ALIKE:g} Dice with the first.",
)
def _partner_order(trial: _Trial):
    """The second image with its axes in another order."""
    turned = replace(trial.scene, partner=_turned(trial.scene.partner))
    name, first = trial.example()
    return _alike(name, first, trial.ask(turned, trial.scene.prompt(name)), "partner_misplaced")


@_canary(
    "the second image is seen",
    "The second image is replaced by one without content (air, or no uptake): the mask of at least one structure "
    "must change.",
)
def _partner_used(trial: _Trial):
    """A blank image in the second one's place."""
    marked, partner = trial.found(), trial.scene.partner
    data = np.full_like(partner.data, OUTSIDE[partner.unit])
    data.flat[0] += 0.001  # a file of nothing but 0 is refused by readers
    blank = replace(trial.scene, partner=replace(partner, data=data))
    for name, first in marked.items():
        given = trial.ask(blank, trial.scene.prompt(name))
        if given.mask is None or not np.array_equal(given.mask, first):
            return (), f"{name}: {given.detail or _same(first, given.mask)}"
    return ("ignores_partner",), f"the same masks of {', '.join(marked)}"


CANARIES = (_contract, _known_answers, _storage, _shift, _repeat, _outside, _firewall, _stale)
PARTNERED = (_partner_order, _partner_used)  # for a program that sees two images


@_canary(
    "weights",
    "The file is hashed before and after all calls. Where the program is told its place, one call gets a "
    "copy with half of its bytes inverted: an error or another mask is right.",
)
def _weights(trial: _Trial):
    """Hash of the weight file, and whether it is used at all."""
    faults, words = [], [f"sha256 {trial.before}"]
    if trial.expected and trial.before != trial.expected:
        faults.append("other_weights")
        words.append(f"expected {trial.expected}")
    elif not trial.expected:
        words.append("no hash was given to compare it with")
    if file_hash(trial.weights) != trial.before:
        faults.append("weights_changed")
    marks = any(o.mask is not None and o.mask.any() for o in trial.first.values())
    if marks and "weights" in getattr(trial.run, "places", ("weights",)):
        name, first = trial.example()
        with tempfile.TemporaryDirectory(prefix="certify-") as folder:
            damaged = Path(folder) / trial.weights.name
            damaged.write_bytes(_damaged(trial.weights.read_bytes()))
            given = trial.ask(trial.scene, trial.scene.prompt(name), weights=damaged)
        if given.mask is not None and np.array_equal(given.mask, first):
            faults.append("weights_ignored")
        seen = given.detail or "another mask" if given.mask is None else _same(first, given.mask)
        words.append(f"with damaged weights {seen}")
    return faults, "; ".join(words)


def _same(first: np.ndarray, given: np.ndarray) -> str:
    changed = int(np.count_nonzero(first ^ given))
    return f"{changed} voxels differ" if changed else "the mask is the same"


def _damaged(content: bytes) -> bytes:
    """Bytes of which every second one of the last nine tenths is inverted."""
    values = np.frombuffer(content, np.uint8).copy()
    values[len(values) // 10 :: 2] ^= 255
    return values.tobytes()
