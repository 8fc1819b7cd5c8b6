"""Plans: which prompts a segmenter is given, and the keys of what is made with them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from umdlib import prompts, protocols, sources
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.files import replaced
from umdlib.images.volume import LabelMap
from umdlib.metrics.scoring import checked_tolerances
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.calls import partner_modalities
from umdlib.segmenters.contract import Segmenter

# raised when a metric's value may change: scores on disk are then made anew from the predictions
METRICS_VERSION = "3"

# raised when images may come to a segmenter on another grid: predictions are then made anew
_GRID_VERSION = "2"

# (protocol, seed) -> structure name -> first prompt
Drawn = dict[tuple[str, int], dict[str, Prompt]]


@dataclass(frozen=True)
class Plan:
    """How prompts are drawn: a protocol, its seeds, and corrective clicks after the first prompt."""

    protocol: str = "centre"
    seeds: tuple[int, ...] = (0,)
    steps: int = 0


@dataclass(frozen=True)
class Settings:
    """Settings of a run, beside images and segmenter.

    `tolerances_mm` of surface Dice: 1 mm is SegAnyPET's; 5 mm is what a PET voxel can resolve.

    Raises
    ------
    InputError
        Tolerances that are no different positive numbers: nothing is asked or written with them.
    """

    plans: tuple[Plan, ...] = (Plan("centre", (0,), 2),)
    tolerances_mm: tuple[float, ...] = (1.0, 5.0)

    def __post_init__(self) -> None:
        """Refuse such tolerances."""
        checked_tolerances(self.tolerances_mm)


def parse_plans(text: str) -> tuple[Plan, ...]:
    """Plans from ``protocol[:seeds[:steps]]``, comma-separated.

    Examples
    --------
    >>> parse_plans("centre:1:2,random:3")
    (Plan(protocol='centre', seeds=(0,), steps=2), Plan(protocol='random', seeds=(0, 1, 2), steps=0))

    Raises
    ------
    InputError
        An unknown protocol, or numbers that are none.
    """
    plans = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        protocol, *numbers = item.split(":")
        protocols.protocol(protocol)
        if len(numbers) > 2 or not all(n.isdecimal() for n in numbers):
            raise InputError(f"Prompt plan '{item}' is not protocol[:seeds[:steps]].")
        seeds, steps = ([int(n) for n in numbers] + [1, 0][len(numbers) :])[:2]
        if seeds < 1:
            raise InputError(f"Prompt plan '{item}' has no seed. Must be 1 or more.")
        plans.append(Plan(protocol, tuple(range(seeds)), steps))
    if not plans:
        raise InputError("No prompt plan. Give at least one, e.g. centre:1:2.")
    return tuple(plans)


def taken_plans(record: Segmenter, settings: Settings) -> tuple[Plan, ...]:
    """The plans whose prompts a segmenter takes; where it takes none of them, its own kind alone.

    Corrective clicks are planned only for those that take negative clicks.
    """
    corrected = "negative_click" in record.prompts
    taken = tuple(
        Plan(p.protocol, p.seeds, p.steps if corrected else 0)
        for p in settings.plans
        if protocols.kind_given(p.protocol) in record.prompts
    )
    kinds = {"click": "centre", "box": "box", "scribble": "scribble", "class": "class", "text": "text"}
    kinds |= {"lasso": "lasso_16", "initial_mask": "initial_mask_5mm"}
    own = [p for p in protocols.native_protocols(record.name) if protocols.kind_given(p) in record.prompts]
    own += [p for k, p in kinds.items() if k in record.prompts]
    return taken or (Plan(own[0]),)


@dataclass(frozen=True)
class Examination:
    """The images of one subject in one session.

    Attributes
    ----------
    subject, session
        Whose, and which.
    cases
        All that the cohort has of it; their references give the prompts.
    wanted
        Those that are to be scored.
    """

    subject: str
    session: str
    cases: tuple[Case, ...]
    wanted: tuple[Case, ...]

    @property
    def with_reference(self) -> tuple[Case, ...]:
        """The cases that have a reference."""
        return tuple(c for c in self.cases if c.reference is not None)

    @property
    def structural(self) -> str:
        """Modality of the reference that is pointed at."""
        cases = self.with_reference or self.cases
        return next((c.modality for c in cases if c.modality != "PET"), cases[0].modality)


def examinations(cohort: Cohort, cases: tuple[Case, ...]) -> list[Examination]:
    """The examinations of some cases, in the order in which their first case comes."""
    whole: dict[tuple[str, str], list[Case]] = {}
    for c in cohort.cases:
        whole.setdefault((c.subject, c.session), []).append(c)
    wanted: dict[tuple[str, str], list[Case]] = {}
    for c in cases:
        wanted.setdefault((c.subject, c.session), []).append(c)
    return [Examination(*which, tuple(whole.get(which, some)), tuple(some)) for which, some in wanted.items()]


def partner_of(examination: Examination, case: Case, record: Segmenter) -> Case | None:
    """The other image of an examination, where a segmenter sees two and the examination has it."""
    wanted = partner_modalities(record, case.modality)
    return next((c for c in examination.cases if c.modality in wanted), None)


def unpaired(examination: Examination, case: Case, record: Segmenter) -> str | None:
    """Why a segmenter that sees two images cannot segment a case; None where it can or sees one."""
    if not record.partner:
        return None
    if case.modality not in record.modalities:
        return f"It is asked about {' or '.join(record.modalities)}, not about {case.modality}."
    if partner_of(examination, case, record) is not None:
        return None
    wanted = " or ".join(partner_modalities(record, case.modality))
    held = ", ".join(c.modality for c in examination.cases)
    return (
        f"It sees {wanted} beside {case.modality}, and {case.subject} {case.session} has {held} alone."
        if wanted
        else f"It sees {' or '.join(record.partner)} beside the image, and {case.modality} cannot be that image."
    )


def drawn_prompts(
    examination: Examination,
    case: Case,
    plans: tuple[Plan, ...],
    root: Path,
    *,
    hash_of: Callable[[Path], str],
    read: Callable[[], Mapping[str, LabelMap]],
) -> Drawn:
    """First prompts of every structure of a case, drawn once a run and kept in its folder.

    They are the same for all images of an examination, but for protocols that name an image's own
    slices.

    Returns
    -------
    dict
        (protocol, seed) -> structure name -> prompt; its note says where there is none to give.
    """
    path = root / "prompts" / f"{examination.subject}_{examination.session}.json"
    basis = _digest([_references(examination, hash_of), _structures(case), drawing_code()])
    kept = _kept_prompts(path, basis)
    drawn, added = {}, False
    for plan in plans:
        structural = _pointed_at(plan, examination, case)
        for seed in plan.seeds:
            name = f"{plan.protocol} {seed} {structural}"
            if name not in kept:
                made = prompts.pair_prompts(
                    read(),
                    case.structures,
                    structural=structural,
                    protocol=plan.protocol,
                    seed=seed,
                    case=f"{case.subject} {case.session}",
                )
                kept[name] = {s: prompts.to_record(p) for s, p in made.items()}
                added = True
            drawn[plan.protocol, seed] = {s: prompts.from_record(r) for s, r in kept[name].items()}
    if added:
        content = {"basis": basis, "drawn": kept, "check": _digest(kept)}
        with replaced(path) as part:
            part.write_text(json.dumps(content), "utf-8")
    return drawn


def _pointed_at(plan: Plan, examination: Examination, case: Case) -> str:
    """Modality of the reference that a plan's prompts of a case are drawn on."""
    return case.modality if protocols.record(plan.protocol).own_image else examination.structural


def _kept_prompts(path: Path, basis: str) -> dict:
    """Prompts that were drawn before from the same references by the same code, undamaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
        whole = content["basis"] == basis and content["check"] == _digest(content["drawn"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return content["drawn"] if whole else {}


@functools.cache
def drawing_code() -> str:
    """Digest of the code that draws prompts."""
    return sources.code_digest(sources.import_closure("umdlib.prompts.drawing"))


def inputs_key(
    examination: Examination,
    case: Case,
    record: Segmenter,
    identity: dict,
    settings: Settings,
    hash_of: Callable[[Path], str],
) -> str:
    """Key of a case's predictions by what they are made from, without drawing a prompt."""
    return _digest(
        [
            hash_of(case.image),
            case.reading,
            *_partner(partner_of(examination, case, record), hash_of),
            _references(examination, hash_of),
            [
                [p.protocol, p.seeds, p.steps, _pointed_at(p, examination, case)]
                for p in taken_plans(record, settings)
            ],
            drawing_code(),
            _structures(case),
            record.name,
            identity,
            _GRID_VERSION,
        ]
    )


def prediction_key(
    case: Case,
    record: Segmenter,
    identity: dict,
    drawn: Drawn,
    settings: Settings,
    hash_of: Callable[[Path], str],
    partner: Case | None = None,
) -> str:
    """Key of a case's predictions by the prompts themselves: the same where a reference's change moved none."""
    steps = {p.protocol: p.steps for p in taken_plans(record, settings)}
    given = [
        [protocol, seed, steps.get(protocol, 0), name, prompts.to_record(p)]
        for (protocol, seed), first in drawn.items()
        for name, p in first.items()
    ]
    reference = hash_of(case.reference) if any(steps.values()) else ""
    inputs = [hash_of(case.image), case.reading, *_partner(partner, hash_of)]
    return _digest([*inputs, given, record.name, identity, reference, _GRID_VERSION])


def score_key(
    predicted: str, case: Case, tolerances_mm: tuple[float, ...], hash_of: Callable[[Path], str]
) -> str:
    """Key of a case's scores, of predictions whose own key is known."""
    reference = hash_of(case.reference)
    return _digest([predicted, reference, list(tolerances_mm), METRICS_VERSION, _structures(case)])


def _partner(partner: Case | None, hash_of: Callable[[Path], str]) -> list[list[str]]:
    """What a key holds of a second image: nothing where there is none."""
    return [] if partner is None else [["partner", hash_of(partner.image), partner.reading]]


def _references(examination: Examination, hash_of: Callable[[Path], str]) -> list[list[str]]:
    """What the prompts of an examination are drawn from."""
    return [[c.modality, hash_of(c.reference)] for c in examination.with_reference]


def _structures(case: Case) -> list[list]:
    return [[s.value, s.name] for s in case.structures]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
