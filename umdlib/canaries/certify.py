"""A certificate: what a program does with axes, millimetres, names, repeats, absent structures and files beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    trial = _Trial(run, scene, Path(weights) if weights else None)
    verdicts = []
    for canary in CANARIES + (PARTNERED if scene.partner is not None else ()):
        verdict = canary(trial)
        verdicts.append(verdict)
        say(f"{verdict.state:10} {verdict.check}{': ' if verdict.detail else ''}{verdict.detail}")
        if canary is _contract and not any(o.mask is not None for o in trial.first.values()):
            break
    verdicts += [v for v in (_weights(trial, sha256.lower()),) if v is not None]
    digest = file_hash(trial.weights) if trial.weights is not None else ""
    return Certificate(program, scene.source, tuple(verdicts), trial.calls, digest)


class _Trial:
    """A program under certification: its first answers, and how often it was called."""

    def __init__(self, run: Run, scene: Scene, weights: Path | None) -> None:
        self.run, self.scene, self.weights, self.calls = run, scene, weights, 0
        self.before = file_hash(weights) if weights is not None else ""
        self.names = list(scene.references)
        self.first = {n: self.ask(scene, scene.prompt(n)) for n in self.names}

    def ask(self, scene: Scene, prompt: Prompt, **more) -> Outcome:
        """One question."""
        self.calls += 1
        more.setdefault("weights", self.weights)
        return ask(self.run, scene.image, prompt, scene.modality, partner=scene.partner, **more)

    def example(self) -> tuple[str, np.ndarray] | None:
        """The structure that it found best, with its mask; None where it found none."""
        scores = {
            n: dice(self.scene.references[n], o.mask)
            for n, o in self.first.items()
            if o.mask is not None and o.mask.any()
        }
        if not scores:
            return None
        best = max(scores, key=scores.get)
        return best, self.first[best].mask


def _judged(check: str, faults: tuple[str, ...], detail: str, how: str) -> Verdict:
    return Verdict(check, FAIL if faults else PASS, faults, detail, how)


def _nothing(check: str, how: str, detail: str = "it marks nothing in this image") -> Verdict:
    return Verdict(check, OPEN, (), detail, how)


def _contract(trial: _Trial) -> Verdict:
    """Whether every call gave a mask on the image's grid."""
    bad = {n: o for n, o in trial.first.items() if o.fault}
    faults = tuple(dict.fromkeys(o.fault for o in bad.values()))
    detail = "; ".join(f"{n}: {o.detail}" for n, o in list(bad.items())[:3])
    return _judged(
        "a mask on the grid of the image",
        faults,
        detail or f"{len(trial.first)} masks",
        "Shape, place of all corners and values of every mask file are compared with the image's; the image file is "
        "hashed before and after.",
    )


def _known_answers(trial: _Trial) -> Verdict:
    """Orientation and wiring of names against the known answer."""
    how = (
        "Masks are compared with the known answer as they stand, under every flip, order of axes and "
        "shift, and with the answers to all other names (best assignment)."
    )
    found = {n: o.mask for n, o in trial.first.items() if o.mask is not None}
    check = "orientation and wiring of names"
    if not found:
        return _nothing(check, how, "there is no mask")
    references = {n: trial.scene.references[n] for n in found}
    said = checks.check_masks([found], [references], "program", trial.scene.modality)
    mean = float(np.mean([dice(references[n], m) for n, m in found.items()]))
    detail = " ".join(f.detail for f in said) or f"mean Dice {mean:.2f} over {len(found)} structures"
    return _judged(check, tuple(f.fault for f in said), detail, how)


def _storage(trial: _Trial) -> Verdict:
    """The same image with its axes in another order."""
    how = (
        "The image is stored with its axes turned (no voxel changes its place in the world) and the mask "
        f"turned back: at least {ALIKE:g} Dice with the first."
    )
    turned = replace(trial.scene, image=_turned(trial.scene.image))
    return _alike(
        trial,
        lambda name: trial.ask(turned, trial.scene.prompt(name)),
        "storage_order",
        "order of the axes in the file",
        how,
        lambda mask: orientation.turned(mask, orientation.turned_back(_TURN)),
    )


def _alike(
    trial: _Trial,
    asked: Callable[[str], Outcome],
    fault: str,
    check: str,
    how: str,
    on_first: Callable[[np.ndarray], np.ndarray] = lambda mask: mask,
) -> Verdict:
    """Whether a structure, asked in another way, has the first mask once its own is put on the first grid."""
    if (example := trial.example()) is None:
        return _nothing(check, how)
    name, first = example
    given = asked(name)
    value = dice(first, on_first(given.mask)) if given.mask is not None else 0.0
    detail = f"{name}: " + (given.detail or f"Dice {value:.3f}")
    return _judged(check, () if value >= ALIKE else (fault,), detail, how)


_TURN = np.array([[1, -1], [2, 1], [0, 1]])


def _turned(image: Volume) -> Volume:
    """The same image stored with its axes in another order."""
    return replace(
        image,
        data=np.asfortranarray(orientation.turned(image.data, _TURN)),
        affine=orientation.turned_affine(image.affine, image.shape, _TURN),
    )


def _shift(trial: _Trial) -> Verdict:
    """All that is given moved together in the world."""
    what = "Image, partner and prompt" if trial.scene.partner is not None else "Image and prompt"
    how = (
        f"{what} are moved by {', '.join(f'{v:g}' for v in SHIFT_MM)} mm; voxels and their order stay: at "
        f"least {ALIKE:g} Dice with the first."
    )
    move = np.eye(4)
    move[:3, 3] = SHIFT_MM
    moved = _placed(trial.scene, image=move, partner=move)
    return _alike(
        trial,
        lambda name: trial.ask(moved, moved.prompt(name)),
        "not_in_mm",
        "place of the prompt in the world",
        how,
    )


def _placed(scene: Scene, **moves: np.ndarray) -> Scene:
    """The scene with its images moved in the world, each by a matrix (4, 4)."""
    images = {which: getattr(scene, which) for which in moves if getattr(scene, which) is not None}
    return replace(scene, **{w: replace(v, affine=moves[w] @ v.affine) for w, v in images.items()})


def _repeat(trial: _Trial) -> Verdict:
    """The same call twice."""
    how = "The same files are given again; every voxel must be the same."
    check = "the same call twice"
    if (example := trial.example()) is None:
        return _nothing(check, how)
    name, first = example
    given = trial.ask(trial.scene, trial.scene.prompt(name))
    changed = -1 if given.mask is None else int(np.count_nonzero(first ^ given.mask))
    detail = f"{name}: {given.detail or f'{changed} voxels differ'}"
    return _judged(check, ("not_repeatable",) if changed else (), detail, how)


def _outside(trial: _Trial) -> Verdict:
    """A structure outside the field of view."""
    how = (
        "The image is cut so that a structure is out of view. The program is then given its name, or a "
        f"click where it was: an error or an empty mask (at most {STRAY} voxels) is right."
    )
    check = "a structure outside the field of view"
    example = trial.example()
    if example is None or trial.scene.kind == "box":
        return _nothing(
            check, how, "a box outside an image is none" if example else "it marks nothing in this image"
        )
    name, _ = example
    cut = trial.scene.without(name)
    if cut is None:
        return _nothing(check, how, f"no part of the image is without {name}")
    given = trial.ask(cut, trial.scene.prompt(name))
    if given.mask is None:
        return _judged(check, (), f"{name}: refused ({given.detail})", how)
    count = int(given.mask.sum())
    faults = ("answers_outside",) if count > STRAY else ()
    return _judged(check, faults, f"{name}: {count} voxels marked of {given.mask.size}", how)


def _firewall(trial: _Trial) -> Verdict:
    """References beside the image."""
    how = (
        "By construction: each call sees a new folder with image and prompt under neutral names; the "
        "references are never written. In one more call altered references lie beside the image under the "
        "usual names: no voxel may change."
    )
    check = "firewall: nothing is read but image and prompt"
    if (example := trial.example()) is None:
        return _nothing(check, how)
    name, first = example
    altered = np.roll(trial.scene.references[name], 5, axis=0)
    decoy = LabelMap(np.asfortranarray(altered, dtype=np.uint8), trial.scene.image.affine)

    def beside(folder: Path) -> None:
        for file in (*DECOYS, f"segmentations/{name}.nii.gz"):
            (folder / file).parent.mkdir(exist_ok=True)
            write_label_map(folder / file, decoy)

    given = trial.ask(trial.scene, trial.scene.prompt(name), beside=beside)
    changed = -1 if given.mask is None else int(np.count_nonzero(first ^ given.mask))
    detail = f"{name}: {given.detail or f'{changed} voxels changed'}"
    return _judged(check, ("reads_beside",) if changed else (), detail, how)


def _stale(trial: _Trial) -> Verdict:
    """Another image under the name of the first."""
    how = (
        "The image is mirrored in its first axis and given in a new folder, and under the name of an image "
        "that was given before: both masks must be the same."
    )
    check = "another image under the same name"
    if (example := trial.example()) is None:
        return _nothing(check, how)
    name, _ = example
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
        return _judged(check, ("failed",), f"{name}: {fresh.detail or again.detail}", how)
    changed = int(np.count_nonzero(fresh.mask ^ again.mask))
    return _judged(check, ("stale",) if changed else (), f"{name}: {changed} voxels differ", how)


def _partner_order(trial: _Trial) -> Verdict:
    """The second image with its axes in another order."""
    how = (
        "The second image is stored with its axes turned (no voxel changes its place in the world): at least "
        f"{ALIKE:g} Dice with the first."
    )
    turned = replace(trial.scene, partner=_turned(trial.scene.partner))
    return _alike(
        trial,
        lambda name: trial.ask(turned, trial.scene.prompt(name)),
        "partner_misplaced",
        "order of the axes in the file of the second image",
        how,
    )


def _partner_used(trial: _Trial) -> Verdict:
    """A blank image in the second one's place."""
    how = (
        "The second image is replaced by one without content (air, or no uptake): the mask of at least one structure "
        "must change."
    )
    check = "the second image is seen"
    marked = {n: o.mask for n, o in trial.first.items() if o.mask is not None and o.mask.any()}
    if not marked:
        return _nothing(check, how)
    partner = trial.scene.partner
    data = np.full_like(partner.data, OUTSIDE[partner.unit])
    data.flat[0] += 0.001  # a file of nothing but 0 is refused by readers
    blank = replace(partner, data=data)
    for name, first in marked.items():
        given = trial.ask(replace(trial.scene, partner=blank), trial.scene.prompt(name))
        if given.mask is None or not np.array_equal(given.mask, first):
            return _judged(check, (), f"{name}: {given.detail or _same(first, given.mask)}", how)
    return _judged(check, ("ignores_partner",), f"the same masks of {', '.join(marked)}", how)


CANARIES = (_contract, _known_answers, _storage, _shift, _repeat, _outside, _firewall, _stale)
PARTNERED = (_partner_order, _partner_used)  # for a program that sees two images


def _weights(trial: _Trial, expected: str) -> Verdict | None:
    """Hash of the weight file, and whether it is used at all; None where none was named."""
    if trial.weights is None:
        return None
    faults, words = [], [f"sha256 {trial.before}"]
    if expected and trial.before != expected:
        faults.append("other_weights")
        words.append(f"expected {expected}")
    elif not expected:
        words.append("no hash was given to compare it with")
    if file_hash(trial.weights) != trial.before:
        faults.append("weights_changed")
    if (example := trial.example()) is not None and "weights" in getattr(trial.run, "places", ("weights",)):
        name, first = example
        with tempfile.TemporaryDirectory(prefix="certify-") as folder:
            damaged = Path(folder) / trial.weights.name
            damaged.write_bytes(_damaged(trial.weights.read_bytes()))
            given = trial.ask(trial.scene, trial.scene.prompt(name), weights=damaged)
        if given.mask is not None and np.array_equal(given.mask, first):
            faults.append("weights_ignored")
        words.append(
            "with damaged weights "
            + (given.detail or "another mask" if given.mask is None else _same(first, given.mask))
        )
    return _judged(
        "weights",
        tuple(faults),
        "; ".join(words),
        "The file is hashed before and after all calls. Where the program is told its place, one call gets a "
        "copy with half of its bytes inverted: an error or another mask is right.",
    )


def _same(first: np.ndarray, given: np.ndarray) -> str:
    changed = int(np.count_nonzero(first ^ given))
    return f"{changed} voxels differ" if changed else "the mask is the same"


def _damaged(content: bytes) -> bytes:
    """Bytes of which every second one of the last nine tenths is inverted."""
    values = np.frombuffer(content, np.uint8).copy()
    values[len(values) // 10 :: 2] ^= 255
    return values.tobytes()
