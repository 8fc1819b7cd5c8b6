"""Domains: cohorts that differ from the training cohort in one named way.

A network is called general because it works on unseen subjects. These cohorts ask for more: the
same simulator with another scanner, other bodies, another tracer, or the organs of real people.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from umdlib.cohort import manifest as cohorts
from umdlib.errors import InputError, unknown_name
from umdlib.images.volume import LabelMap, read_label_map, write_label_map, write_volume
from umdlib.labels import ORGANS, SESSIONS
from umdlib.synthetic.anatomy.drawing import draw_anatomy
from umdlib.synthetic.anatomy.person import Person, draw_person
from umdlib.synthetic.from_labels import anatomy_from_labels
from umdlib.synthetic.limits import Settings, anatomy_spacing, check_whole
from umdlib.synthetic.scanner.acquisition import draw_acquisition
from umdlib.synthetic.scanner.factors import factors
from umdlib.synthetic.scanner.simulation import Pair, image_pair


@dataclass(frozen=True)
class Domain:
    """One way to differ.

    Attributes
    ----------
    title, words
        Name and description shown to a reader.
    factors
        Strengths of the physics that differ from 1, see `umdlib.synthetic.scanner.factors.Factors`.
    persons
        What is fixed about the persons, in turn, see `umdlib.synthetic.anatomy.person.draw_person`.
    uptake
        Tissue -> factor on its uptake.
    maps
        Whether the anatomy is that of label maps of real people.
    """

    title: str
    words: str
    factors: dict = field(default_factory=dict)
    persons: tuple[dict, ...] = ({},)
    uptake: dict = field(default_factory=dict)
    maps: bool = False


DOMAINS: dict[str, Domain] = {
    "same": Domain("Same simulator", "new subjects, everything as in training"),
    # what is lost on PET because the reference is drawn on the structural image: on these it is not
    "still": Domain(
        "Without motion",
        "PET without breathing, displacement and a filling bladder: the reference is PET's own anatomy",
        factors={"breathing": 0.0, "misregistration": 0.0, "bladder_filling": 0.0},
    ),
    "scanner": Domain(
        "Other scanner",
        "PET noise × 2, PET point spread × 1.5, noise of CT or MR × 2.5, MR's bias field × 2",
        factors={"noise": 2.0, "resolution": 1.5, "structural_noise": 2.5, "bias_field": 2.0},
    ),
    "bodies": Domain(
        "Other bodies",
        "short and obese (152 cm, BMI 38) or tall and thin (196 cm, BMI 17.5)",
        persons=({"bmi": 38.0, "height_cm": 152.0}, {"bmi": 17.5, "height_cm": 196.0}),
    ),
    "tracer": Domain(
        "Other tracer",
        "kidneys × 10, glands × 8, spleen × 3, liver × 2, bowel wall × 3, brain and heart × 0.1: the "
        "pattern of a PSMA tracer, roughly, set by hand",
        uptake={
            "kidney_cortex": 10.0,
            "kidney_medulla": 8.0,
            "gland": 8.0,
            "spleen": 3.0,
            "liver": 2.0,
            "bowel_wall": 3.0,
            "grey_matter": 0.1,
            "white_matter": 0.1,
            "myocardium": 0.3,
        },
    ),
    "organ_maps": Domain(
        "Real organs",
        "label maps of other, real people, the simulator's physics; of the organs, those that are labelled",
        maps=True,
    ),
}

# Values of the organ maps of the autoPET III submission MIC-DKFZ/autopet-3-submission.
_MAP_NAMES = {
    1: "spleen",
    2: "kidneys",
    3: "liver",
    4: "urinary_bladder",
    5: "lung",
    6: "brain",
    7: "heart",
    8: "stomach",
    9: "prostate",
    10: "head_glands",
}


def write_domains(
    out: str | Path,
    *,
    names: Sequence[str] = ("same", "still", "scanner", "bodies", "tracer"),
    subjects: int = 2,
    seed: int = 0,
    session: str = "petct",
    spacing_mm: float = 4.0,
    maps: Sequence[str | Path] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write one cohort that holds subjects of several domains; returns its manifest.

    Parameters
    ----------
    out
        Folder to fill.
    names
        Of `DOMAINS`. A subject is called ``<domain>-001``; the manifest has a column ``domain``.
    subjects
        Per domain.
    seed, session, spacing_mm
        As in `umdlib.synthetic.synthesise`. The persons of all domains are drawn alike, but for
        what the domain fixes.
    maps
        Label-map files for ``organ_maps``, one per subject.
    say
        Called with one line per subject.

    Raises
    ------
    InputError
        No domain, or an unknown one; another session than petct and petmr; a spacing or seed out of range;
        too few label maps; a folder that cannot be written.
    """
    if session not in SESSIONS:
        raise unknown_name("session", session, SESSIONS)
    Settings(spacing_mm).check()
    check_whole("seed", seed, 0)
    if not names:
        raise InputError(f"No domain is named. Known: {', '.join(DOMAINS)}.")
    for name in names:
        if name not in DOMAINS:
            raise unknown_name("domain", name, DOMAINS)
        if DOMAINS[name].maps and len(maps) < subjects:
            raise InputError(f"Domain '{name}' needs {subjects} label maps, {len(maps)} were given.")
    out, rows = Path(out), []
    for name in names:
        for n in range(subjects):
            subject = f"{name}-{n + 1:03d}"
            path = maps[n] if DOMAINS[name].maps else None
            pair = draw_pair(DOMAINS[name], n, seed, session, spacing_mm, path)
            rows += [{**row, "domain": name} for row in write_pair(out, subject, session, pair)]
            say(f"{subject} written")
    cohorts.write_structures(out / "dseg.tsv", ORGANS)
    return cohorts.write_manifest(out / "manifest.tsv", rows)


def draw_pair(
    domain: Domain, number: int, seed: int, session: str, spacing_mm: float, path: str | Path | None
) -> Pair:
    """One subject of a domain."""
    key = [int(seed), zlib.crc32(f"{session}/{number}".encode())]
    who, scan, noise, folds = np.random.SeedSequence(key).spawn(4)
    person = draw_person(
        np.random.default_rng(who),
        arms="down" if session == "petmr" or number % 2 else "up",
        **domain.persons[number % len(domain.persons)],
    )
    person = replace(person, uptake_suv=scaled(person, domain.uptake))
    acquisition = draw_acquisition(np.random.default_rng(scan), session=session, bmi=person.bmi)
    fine = anatomy_spacing(spacing_mm)
    if path is None:
        anatomy = draw_anatomy(person, spacing_mm=fine)
    else:
        anatomy = anatomy_from_labels(
            _known_values(read_label_map(path)),
            person,
            names=_MAP_NAMES,
            spacing_mm=fine,
            rng=np.random.default_rng(folds),
        )
    return image_pair(
        anatomy,
        session=session,
        acquisition=acquisition,
        seed=noise,
        factors=factors(domain.factors),
        spacing_mm=spacing_mm,
    )


def scaled(person: Person, by: dict[str, float]) -> dict[str, float]:
    """A person's uptake with some tissues multiplied."""
    for name in by:
        if name not in person.uptake_suv:
            raise unknown_name("tissue with an uptake", name, person.uptake_suv)
    return {k: round(v * by.get(k, 1.0), 3) for k, v in person.uptake_suv.items()}


def _known_values(label_map: LabelMap) -> LabelMap:
    """A label map without the values that `_MAP_NAMES` does not know."""
    data = np.where(np.isin(label_map.data, list(_MAP_NAMES)), label_map.data, 0)
    return LabelMap(data.astype(np.uint8), label_map.affine, label_map.name)


def write_pair(out: Path, subject: str, session: str, pair: Pair) -> list[dict]:
    """Write a pair's four files; its two rows of the manifest."""
    rows = []
    for modality, image, reference in (
        (SESSIONS[session].structural, pair.structural, pair.structural_reference),
        ("PET", pair.pet, pair.pet_reference),
    ):
        stem = f"{subject}/{subject}_ses-{session}_{modality.lower()}"
        write_volume(out / f"{stem}.nii.gz", image)
        write_label_map(out / f"{stem}_dseg.nii.gz", reference)
        rows.append(
            {
                "subject": subject,
                "session": session,
                "modality": modality,
                "image": f"{stem}.nii.gz",
                "reference": f"{stem}_dseg.nii.gz",
                "unit": image.unit,
            }
        )
    return rows


def organ_maps(shared: str | Path = "") -> list[Path]:
    """Label maps of FDG patients (``fdg_*.nii.gz``) in a folder; none without a folder.

    Examples
    --------
    >>> organ_maps("no/such/folder")
    []
    """
    return sorted(Path(shared).glob("fdg_*.nii.gz")) if shared else []
