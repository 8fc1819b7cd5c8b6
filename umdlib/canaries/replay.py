"""The canaries over the predictions that a run has stored."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import prompts, segmenters
from umdlib.canaries import checks as canaries
from umdlib.canaries import controls
from umdlib.canaries import findings as flags
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.evaluation import store as runs
from umdlib.evaluation.plans import examinations, partner_of
from umdlib.images import volume
from umdlib.images.partner import OUTSIDE, modality_of
from umdlib.metrics.masks import dice
from umdlib.scores.table import read_scores
from umdlib.segmenters.contract import Segmenter

_SEED = 0  # of the prompts whose masks are read
_REPLAYED = 2  # structures of a case


def check_run(
    cohort: Cohort,
    root: str | Path,
    names: Sequence[str],
    *,
    given: Sequence[str] = (),
    limit: int = 4,
    device: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """All canaries of each segmenter and modality, on stored first masks.

    Wiring, one mask and orientation are read from the masks. The firewall replays a case without
    references, and the positive control runs the segmenter on a phantom; both need a device. A segmenter
    that sees two images is given its partner again, without a reference too; then a blank one, which should
    change something.

    Parameters
    ----------
    cohort
        The cohort of the run.
    root
        Folder of the run.
    names
        Of segmenters, as in the run's folder; one without stored predictions is left out.
    given
        How the run was given segmenters of the user's own (``my_model.py:MINE``, a card, a
        folder): their names alone are not in the registry, and without this they do not run here.
    limit
        Cases per modality: faults of wiring show in the first few.
    device
        Where firewall and control run; None leaves them out.
    report
        Called with one line per segmenter and modality.

    Returns
    -------
    pandas.DataFrame
        One row per segmenter and modality: segmenter, modality, n_cases, faults (joined by
        commas, empty for none), detail, control (in words).
    """
    rows, records = [], _records(names, given) if device is not None else {}
    for segmenter in names:
        control, missed = "", []
        for modality in sorted({c.modality for c in cohort.cases}):
            cases = [c for c in cohort.cases if c.modality == modality][:limit]
            protocol = _first_protocol(root, segmenter, cases)
            read = {c: m for c in cases if (m := _masks(root, segmenter, c, protocol))}
            if not read:
                if why := _why_none(root, segmenter, cases, protocol):
                    detail = f"It failed on every structure: {why}"
                    rows.append((segmenter, modality, 0, "", detail, "not run"))
                    report(f"{segmenter} {modality}: {detail}")
                continue
            predictions, references = zip(*read.values(), strict=True)
            found = canaries.check_masks(predictions, references, segmenter, modality)
            found += canaries.check_ceilings(_scores(root, segmenter, list(read)), segmenter, modality)
            case, outside = next(iter(read)), ""
            if device is not None:
                record = records.get(segmenter)
                if not control:
                    control, missed = _control(record, device)
                if not missed:
                    found, outside = _outside_its_domain(found, record, case, device)
                found += missed + replay(root, record, case, protocol, device, _partner(cohort, case, record))
            faults = ", ".join(f.fault for f in found)
            detail = " ".join([*(f.detail for f in found), outside]).strip()
            rows.append((segmenter, modality, len(read), faults, detail, control))
            report(f"{segmenter} {modality}: {faults or 'no alarm'}")
    return pd.DataFrame(rows, columns=flags.COLUMNS)


def found(cohort: Cohort, root: str | Path, *, limit: int = 4) -> pd.DataFrame:
    """Findings of the run's canaries; where they did not run, of its stored masks now."""
    stored = flags.read(root)
    if not stored.empty:
        return stored
    names = sorted(p.name for p in (Path(root) / "cases").glob("*") if p.is_dir())
    return check_run(cohort, root, names, limit=limit)


def replay(
    root: str | Path,
    record: Segmenter | None,
    case: Case,
    prompt: str,
    device: str,
    partner: Case | None = None,
) -> list[canaries.Finding]:
    """Whether stored masks come again from the image, its partner and the stored prompt alone.

    The images are copied into empty folders, so that no reference lies beside them; then the first
    two structures of the case are prompted as they were in the run. A mask that is
    another one, and the same twice, was made with something that is not there any more. One that
    differs between two replays is not repeatable. A segmenter that cannot be loaded here, and a
    structure on which it failed in the run, are left out.

    Where a segmenter sees two images, masks that all come again with a blank partner were made without it.
    """
    if record is None or not record.deterministic or (record.partner and partner is None):
        return []
    if not segmenters.availability(record, device).ok:
        return []
    segmenter = record.name
    condition = ((case.session, case.modality),) if record.conditions else ()
    try:
        segment = segmenters.load(record, device, *condition)
    except Exception:  # whatever its code does: there is nothing to compare with
        return []
    stored = runs.read_prediction(root, segmenter, case, prompt=prompt, seed=_SEED)
    answered, _ = _answered(root, segmenter, case, prompt)
    given = [
        p
        for p in runs.read_prompts(root, segmenter, case)
        if (p.protocol, p.seed, p.step) == (prompt, _SEED, 0)
        and p.note != prompts.REFERENCE_EMPTY
        and p.structure in answered
    ]
    with tempfile.TemporaryDirectory() as folder:
        image = _read_alone(case, Path(folder) / "image")
        other = _read_alone(partner, Path(folder) / "partner") if record.partner else None
        masks = {p: stored[p.structure] for p in given[:_REPLAYED]}
        for one, mask in masks.items():
            if found := _changed(segment, image, other, one, mask):
                fault, alternative, detail = found
                about = (segmenter, fault, one.structure, case.modality)
                return [canaries.Finding(*about, alternative=alternative, detail=detail)]
        return [] if other is None else _ignored(segment, image, other, masks, record)


def _changed(
    segment: segmenters.Segment,
    image: volume.Volume,
    other: volume.Volume | None,
    prompt: prompts.Prompt,
    stored: np.ndarray,
) -> tuple[str, float, str] | None:
    """Fault, Dice with the stored mask and detail where a prompt now gives another mask; else None."""
    first = _answer(segment, image, prompt, other)
    if first is None or np.array_equal(first, stored):
        return None
    again = np.array_equal(first, _answer(segment, image, prompt, other))
    changed = int(np.count_nonzero(first ^ stored))
    alone = "when the image is alone" if other is None else "when the two images are alone"
    detail = f"{changed} voxels of {prompt.structure} differ {alone}."
    return "reads_reference" if again else "not_repeatable", dice(first, stored), detail


def _ignored(
    segment: segmenters.Segment,
    image: volume.Volume,
    partner: volume.Volume,
    stored: Mapping[prompts.Prompt, np.ndarray],
    record: Segmenter,
) -> list[canaries.Finding]:
    """A finding where a blank partner changes no mask."""
    blank = replace(partner, data=np.full_like(partner.data, OUTSIDE[partner.unit]))
    answers = {p: _answer(segment, image, p, blank) for p in stored}
    if not stored or any(a is None or not np.array_equal(a, stored[p]) for p, a in answers.items()):
        return []
    names = ", ".join(p.structure for p in stored)
    detail = f"The masks of {names} are the same with a blank {modality_of(partner)} beside the image."
    return [canaries.Finding(record.name, "ignores_partner", names, modality_of(image), detail=detail)]


def _read_alone(case: Case, folder: Path) -> volume.Volume:
    """An image read from a folder that holds nothing else."""
    folder.mkdir()
    return replace(case, image=Path(shutil.copy(case.image, folder))).read_image()


def _partner(cohort: Cohort, case: Case, record: Segmenter | None) -> Case | None:
    """The partner of a case for a segmenter that sees two images."""
    (examination,) = examinations(cohort, (case,))
    return None if record is None else partner_of(examination, case, record)


def _answer(
    segment: segmenters.Segment, image: volume.Volume, prompt: prompts.Prompt, partner: volume.Volume | None
):
    """The mask of a prompt; None where the segmenter fails on it, which its row in the table says."""
    try:
        return segment(image, prompt, None, partner)
    except Exception:
        return None


def _why_none(root: str | Path, segmenter: str, cases: Sequence[Case], prompt: str) -> str:
    """The first failure of a segmenter on these cases; nothing where nothing was stored."""
    for case in cases:
        try:
            return _answered(root, segmenter, case, prompt)[1]
        except InputError:
            continue
    return ""


def _first_protocol(root: str | Path, segmenter: str, cases: Sequence[Case]) -> str:
    """Protocol of the first stored prompt of the cases; ``centre`` where nothing is stored."""
    for case in cases:
        try:
            return runs.read_prompts(root, segmenter, case)[0].protocol
        except (InputError, IndexError):
            continue
    return "centre"


def _outside_its_domain(
    found: list[canaries.Finding], record: Segmenter | None, case: Case, device: str
) -> tuple[list[canaries.Finding], str]:
    """Set aside dead structures that a network of this project finds where it was trained, with a sentence.

    A class that is never found in this cohort and is found in a body of the training's own simulator
    is wired right: the cohort lies outside what the network knows.
    """
    if record is None or not controls.trained_here(record):
        return found, ""
    kept, words = [], []
    for finding in found:
        names = finding.structure.split(", ")
        if finding.fault != "dead_structure":
            kept.append(finding)
            continue
        home = controls.home_scores(record, names, case.session, case.modality, device)
        if set(home) == set(names) and min(home.values()) >= canaries.LEAST:
            listed = ", ".join(f"{n} (DSC {home[n]:.2f} there)" for n in names)
            words.append(
                f"Never found here, though found in a body of its training's simulator: {listed}. This cohort lies "
                "outside the domain of the network; its wiring is right."
            )
        else:
            kept.append(finding)
    return kept, " ".join(words)


def _control(record: Segmenter | None, device: str) -> tuple[str, list[canaries.Finding]]:
    """The positive control in words, and its finding; only of a segmenter that can run here."""
    if record is None or not segmenters.availability(record, device).ok:
        return "not run here", []
    try:
        return controls.check(record.name, device)
    except Exception as error:  # whatever a model's code does, the other canaries go on
        return f"failed: {type(error).__name__}: {error}"[:200], []


def _records(names: Sequence[str], given: Sequence[str]) -> dict[str, Segmenter]:
    """The records of those names that can be found: as they were given, else in the registry."""
    found = {}
    for text in (*given, *names):
        try:
            record = segmenters.get(text)
        except InputError:
            continue
        found.setdefault(record.name, record)
    return found


def checked_segmenters(findings: pd.DataFrame) -> list[str]:
    """Segmenters that had stored predictions."""
    return list(findings["segmenter"].unique())


def example_wiring(
    cohort: Cohort, root: str | Path, names: Sequence[str], modality: str, *, limit: int = 4
) -> pd.DataFrame | None:
    """Mean wiring matrix of the first segmenter that has masks of a modality; None where none has.

    Rows are the structures prompted, columns the references.
    """
    cases = [c for c in cohort.cases if c.modality == modality][:limit]
    for name in names:
        prompt = _first_protocol(root, name, cases)
        stored = [m for c in cases if (m := _masks(root, name, c, prompt))]
        if stored:
            matrices = [canaries.wiring_matrix(p, r) for p, r in stored]
            return pd.concat(matrices).groupby(level=0, sort=False).mean()
    return None


def _masks(
    root: str | Path, segmenter: str, case: Case, prompt: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None:
    """Predictions and references of a case by structure; None where nothing is stored.

    Structures on which the segmenter failed have no mask.
    """
    try:
        predictions = runs.read_prediction(root, segmenter, case, prompt=prompt, seed=_SEED)
        answered, _ = _answered(root, segmenter, case, prompt)
    except InputError:
        return None
    reference = case.read_reference().data
    found = [s for s in case.structures if s.name in answered]
    return (
        ({s.name: predictions[s.name] for s in found}, {s.name: reference == s.value for s in found})
        if found
        else None
    )


def _scores(root: str | Path, segmenter: str, cases: Sequence[Case]) -> pd.DataFrame:
    """Score rows of cases that a run has stored."""
    return pd.concat([_rows(root, segmenter, c) for c in cases], ignore_index=True)


def _rows(root: str | Path, segmenter: str, case: Case) -> pd.DataFrame:
    """Score rows of one case that a run has stored."""
    return read_scores(runs.case_folder(root, segmenter, case) / "scores.parquet")


def _answered(root: str | Path, segmenter: str, case: Case, prompt: str) -> tuple[set[str], str]:
    """Structures of a case for which the run holds an answer, and the first reason of a failure."""
    rows = _rows(root, segmenter, case)
    rows = rows[rows["prompt"].eq(prompt) & rows["seed"].eq(_SEED) & rows["step"].eq(0)]
    silent = rows["status"].isin(["failed", "unavailable"])
    reasons = rows.loc[rows["status"].eq("failed"), "reason"]
    return set(rows.loc[~silent, "structure"]), next(iter(reasons), "")
