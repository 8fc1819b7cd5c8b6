"""A synthetic cohort on disk: manifest, BIDS-like folders, true parameters."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np

from umdlib import sources
from umdlib.cohort.manifest import write_manifest, write_structures
from umdlib.errors import InputError, unknown_name
from umdlib.files import replaced
from umdlib.images.volume import LabelMap, write_label_map, write_volume
from umdlib.labels import ORGANS, SESSIONS
from umdlib.labels import session as session_record
from umdlib.synthetic import truth
from umdlib.synthetic.anatomy.drawing import draw_anatomy
from umdlib.synthetic.anatomy.lesions import draw_lesions
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.limits import Settings, anatomy_spacing, check_whole
from umdlib.synthetic.scanner.acquisition import draw_acquisition
from umdlib.synthetic.scanner.sampling import SCANNERS
from umdlib.synthetic.scanner.simulation import Pair, image_pair, lesions_on
from umdlib.version import __version__

_VERSION = "2"  # of the synthesis: raised whenever a byte of an image may change
_ARMS_UP = 0.6  # share of PET/CT subjects
_SUFFIX = {"CT": ("anat", "ct"), "MR": ("anat", "T1w"), "PET": ("pet", "pet")}
UNIT = {"CT": "HU", "MR": "a.u.", "PET": "SUV"}


def synthesise(
    out: Path | str,
    *,
    subjects: int,
    seed: int,
    sessions: Sequence[str] = ("petct", "petmr"),
    settings: Settings | None = None,
    only: Sequence[str] = (),
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a cohort of paired subjects with known truth.

    Parameters
    ----------
    out
        Folder; made if it does not exist. Subjects that are complete in it are kept.
    subjects
        Subjects per session.
    seed
        Seed of the cohort. A subject depends on (version, seed, subject) only: not on the order,
        the number of jobs, or how many other subjects there are of its session.
    sessions
        Of ``petct`` and ``petmr``.
    settings
        Voxel size, lesions, strengths of the physics.
    only
        Names of the subjects to write, of those that the cohort has; all by default.
    jobs
        Processes.
    progress
        Called with one line per subject.

    Returns
    -------
    pathlib.Path
        The manifest.

    Raises
    ------
    InputError
        A number out of range, an unknown session or subject, a folder that cannot be written.
    """
    settings = settings or Settings()
    for name, value, low in (("subjects", subjects, 1), ("seed", seed, 0), ("jobs", jobs, 1)):
        check_whole(name, value, low)
    settings.check()
    names = [session_record(s).name for s in sessions]
    if not names or len(set(names)) != len(names):
        raise InputError(f"Invalid sessions {list(sessions)}. Name one or both, each once.")
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make folder {out}: {error.strerror}.") from None
    plan = [(subject_id(i, name, subjects, names), name) for name in names for i in range(subjects)]
    known = [subject for subject, _ in plan]
    for subject in only:
        if subject not in known:
            raise unknown_name("subject of this cohort", subject, known)
    plan = [task for task in plan if not only or task[0] in set(only)]
    rows = dict(run(out, plan, seed, settings, jobs, progress))
    write_tables(out, [row for subject, _ in plan for row in rows[subject]])
    return out / "manifest.tsv"


def subject_id(index: int, session: str, subjects: int, sessions: Sequence[str]) -> str:
    """``sub-001`` ...: unique over sessions, which follow one another."""
    return f"sub-{list(sessions).index(session) * subjects + index + 1:03d}"


def run(out, plan, seed, settings, jobs, progress):
    """(subject, manifest rows) of every planned subject, in `jobs` processes."""
    tasks = [(str(out), subject, name, seed, settings) for subject, name in plan]
    if jobs == 1 or len(tasks) == 1:
        for task in tasks:
            yield _finish(_write_subject(*task), len(plan), progress)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=end_with_parent)
    try:
        for future in as_completed([pool.submit(_write_subject, *task) for task in tasks]):
            yield _finish(future.result(), len(plan), progress)
    except BrokenExecutor:
        raise InputError(
            f"A process that made a subject of {out} was ended from outside, often for want of memory. Subjects "
            f"that were finished are kept; give the same command again, with fewer --jobs than {jobs}."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """In a worker: end when the process that started it does, also if that one was killed.

    A killed parent closes nothing: its workers hold both ends of the queue of tasks and would wait
    for ever.
    """

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _finish(result, total: int, progress):
    """Report one subject."""
    subject, rows, fresh = result
    if progress:
        progress(f"{subject}: {'written' if fresh else 'kept'} ({total} in all)")
    return subject, rows


def _write_subject(out: str, subject: str, session: str, seed: int, settings: Settings):
    """Make and write one subject unless its files are there with the same key."""
    folder = Path(out) / subject / f"ses-{session}"
    structural = SESSIONS[session].structural
    request = {
        "version": _VERSION,
        "source": _source_digest(),
        "seed": int(seed),
        "subject": subject,
        "session": session,
        "spacing_mm": float(settings.spacing_mm),
        "lesions": int(settings.lesions),
        "factors": settings.factors.record(),
    }
    key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    path = truth.record_path(folder, subject, session)
    paths = {m: image_paths(folder, subject, session, m) for m in (structural, "PET")}
    kept = truth.read_record(path)
    if kept and kept.get("key") == key and all(p.is_file() for pair in paths.values() for p in pair):
        return subject, manifest_rows(Path(out), kept, paths), False
    path.unlink(missing_ok=True)
    pair = make_pair(subject, session, seed, settings.spacing_mm, settings.lesions, settings.factors)
    record = write_pair(pair, session, paths, path, request | {"key": key})
    return subject, manifest_rows(Path(out), record, paths), True


@functools.cache
def _source_digest() -> str:
    """sha256 of this room's code, without comments: a subject drawn by other code is drawn again."""
    return sources.code_digest(sorted(Path(__file__).parent.rglob("*.py")))


def make_pair(subject: str, session: str, seed: int, spacing_mm: float, lesions=0, factors=None) -> Pair:
    """Draw and image one subject of a cohort; nothing is written."""
    key = [int(seed), zlib.crc32(f"{session}/{subject}".encode()), int(_VERSION)]
    who, scan, sick, noise = np.random.SeedSequence(key).spawn(4)
    rng = np.random.default_rng(who)
    arms = "up" if session == "petct" and rng.random() < _ARMS_UP else "down"
    person = draw_person(rng, arms=arms)
    acquisition = draw_acquisition(np.random.default_rng(scan), session=session, bmi=person.bmi)
    anatomy = draw_anatomy(person, spacing_mm=anatomy_spacing(spacing_mm))
    planted = draw_lesions(anatomy, lesions, np.random.default_rng(sick))
    return image_pair(
        anatomy,
        session=session,
        acquisition=acquisition,
        seed=noise,
        factors=factors,
        spacing_mm=spacing_mm,
        lesions=planted,
    )


def write_pair(pair: Pair, session: str, paths: dict, record_path: Path, request: dict) -> dict:
    """Write images and references, last the truth with the request; return it."""
    structural = SESSIONS[session].structural
    record = request | {"umdlib": __version__} | pair.record()
    record["reference_ml"] = {}
    for modality, volume, reference in (
        (structural, pair.structural, pair.structural_reference),
        ("PET", pair.pet, pair.pet_reference),
    ):
        image_path, reference_path = paths[modality]
        write_volume(image_path, volume)
        write_label_map(reference_path, reference)
        if pair.lesions:
            name = reference_path.name.replace("_dseg", "_label-lesion_dseg")
            write_label_map(reference_path.with_name(name), lesions_on(pair, volume))
        record["reference_ml"][modality] = volumes_ml(reference)
    record["fwhm_mm"] = SCANNERS[session, "PET"].fwhm_mm
    write_text(record_path, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def volumes_ml(reference: LabelMap) -> dict[str, float]:
    """Volume of each structure of a label map."""
    counts = np.bincount(reference.data.ravel(), minlength=max(s.value for s in ORGANS) + 1)
    voxel = float(np.prod(reference.spacing_mm)) / 1000
    return {s.name: round(float(counts[s.value]) * voxel, 2) for s in ORGANS}


def image_paths(folder: Path, subject: str, session: str, modality: str) -> tuple[Path, Path]:
    """Image and reference of one modality."""
    place, suffix = _SUFFIX[modality]
    stem = folder / place / f"{subject}_ses-{session}"
    return Path(f"{stem}_{suffix}.nii.gz"), Path(f"{stem}_space-{modality.lower()}_dseg.nii.gz")


def manifest_rows(out: Path, record: dict, paths) -> list[dict[str, str]]:
    """Two rows, structural first."""
    person = record["person"]
    lesions = {"lesions": str(len(record["lesions"]))} if record.get("lesions") else {}
    return [
        {
            "subject": record["subject"],
            "session": record["session"],
            "modality": modality,
            "image": image.relative_to(out).as_posix(),
            "reference": reference.relative_to(out).as_posix(),
            "unit": UNIT[modality],
            "age": str(person["age"]),
            "sex": person["sex"],
            "height_cm": f"{person['height_cm']:g}",
            "weight_kg": f"{person['weight_kg']:g}",
            **lesions,
            "provenance": "synthetic",
        }
        for modality, (image, reference) in paths.items()
    ]


def write_tables(out: Path, rows: list[dict[str, str]]) -> None:
    """dseg.tsv, dataset_description.json, and last the manifest."""
    write_structures(out / "dseg.tsv", ORGANS)
    about = {
        "Name": "umdlib synthetic cohort",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "umdlib.synthetic", "Version": __version__}],
    }
    write_text(out / "dataset_description.json", json.dumps(about, indent=1) + "\n")
    write_manifest(out / "manifest.tsv", rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
