"""What reproduces each row of the two papers: command, needs, computed cost, what is not the same."""

from __future__ import annotations

import contextlib
import io
import math
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from umdbook import notebook, page
from umdlib import __main__ as cli
from umdlib import labels, protocols
from umdlib.errors import InputError, unknown_name
from umdlib.evaluation import run as evaluation
from umdlib.networks.specialists import TRAINERS
from umdlib.segmenters import registry
from umdlib.tables.markdown import count, markdown_table
from umdlib.training.nnunet import recipes

S3 = "SegAnyPET, supplementary table 3: inference time per case on an A100, taken as one structure"


@dataclass(frozen=True)
class Time:
    """Seconds of one unit of work on an A100, and where they are from.

    `unit` is ``structure`` (one answer of one structure), or ``window`` (one cube or patch of the image,
    for all structures at once). `edge_mm` and `step_mm` of a window along x, y, z.
    """

    seconds: float
    unit: str
    source: str
    edge_mm: tuple[float, float, float] = (0, 0, 0)
    step_mm: tuple[float, float, float] = (1, 1, 1)

    def windows(self, field_mm: tuple[float, float, float]) -> int:
        """Windows that cover a field of view.

        Examples
        --------
        >>> TIMES["sat_pro"].windows((500, 400, 1000)), TIMES["sat_pro"].windows((700, 700, 1100))
        (36, 112)
        """
        sides = zip(field_mm, self.edge_mm, self.step_mm, strict=True)
        return math.prod(math.ceil(max(f - e, 0) / s) + 1 for f, e, s in sides)


_ASSUMED = "assumed: no time on an A100 is published"
TIMES: dict[str, Time] = {
    "sam_med3d_turbo": Time(1.8, "structure", S3),
    "seganypet_v2": Time(1.8, "structure", S3),
    "seganypet_lesion": Time(1.8, "structure", f"{S3}, of SegAnyPET"),
    "nninteractive": Time(7.4, "structure", S3),
    "sam_vit_h points_per_slice_3": Time(19.6, "structure", S3),
    "sam_vit_h points_per_slice_5": Time(32.1, "structure", S3),
    "medsam": Time(22.8, "structure", S3),
    "segvol": Time(2.0, "structure", _ASSUMED),
    "vista3d": Time(0.2, "window", _ASSUMED, (192, 192, 192), (144, 144, 144)),
    "sat_pro": Time(0.7, "window", _ASSUMED, (288, 288, 288), (144, 144, 144)),
}
# SegVol's preparation of a CT of 512 x 512 x 354 voxels
PREPARATION = Time(
    19.3, "image", "measured on one CPU core: 6.45 s for 512 × 512 × 118 voxels, three times that"
)
# hours of one training of 1000 epochs on an A100
_TRAINING_SOURCE = "nnU-Net, documentation/resenc_presets.md: hours of one training on an A100"
TRAINING = {"nnunet": 9, "stunet": 15, "swinunetr": 15, "segresnet": None}


@dataclass(frozen=True)
class Cohort:
    """A cohort of the papers: images and fields of view by modality, structures, masks, what it needs."""

    name: str
    manifest: str
    session: str
    images: dict[str, int]
    structures: int
    needs: str
    masks: int | None = None

    def hours(self, time: Time) -> float:
        """Hours of a system on an A100: all structures of all images, one answer each."""
        seconds = 0.0
        for modality, images in self.images.items():
            each = time.windows(_FIELDS_MM[modality]) if time.unit == "window" else self.structures
            answers = self.masks if self.masks and time.unit == "structure" else images * each
            seconds += answers * time.seconds
        return seconds / 3600


# Fields of view that windows are counted in; the papers do not state them.
_FIELDS_MM = {"CT": (500, 500, 1000), "MR": (500, 400, 1000), "PET": (700, 700, 1000)}

_SOON = "UMD's images (announced as public, not yet there) as a manifest"
_CONTROLLED = "a cohort under controlled access as a manifest"
PETCT = Cohort("UMD PET/CT", "{petct}", "petct", {"CT": 490, "PET": 490}, 13, _SOON)
PETMR = Cohort("UMD PET/MR", "{petmr}", "petmr", {"MR": 464, "PET": 464}, 13, _SOON)
_SIX = Cohort("UMD PET/CT, PET, six organs", "{petct}", "petct", {"PET": 490}, 6, _SOON)
ORGAN = Cohort("PETS-Organ", "PETS-Organ/manifest.tsv", "petct", {"PET": 100}, 11, _CONTROLLED)
_LYMPH = Cohort("PETS-Lymph", "PETS-Lymph/manifest.tsv", "petct", {"PET": 148}, 1, _CONTROLLED, 414)
LUNG = Cohort("PETS-LC", "PETS-LC/manifest.tsv", "petct", {"PET": 638}, 1, _CONTROLLED, 8314)
PSMA = Cohort("AutoPET-PSMA", "PSMA/manifest.tsv", "petct", {"PET": 597}, 1, "AutoPET's PSMA images", 22177)
_PETCT_PET = Cohort("UMD PET/CT, PET", "{petct}", "petct", {"PET": 490}, 13, _SOON)
_PETMR_PET = Cohort("UMD PET/MR, PET", "{petmr}", "petmr", {"PET": 464}, 13, _SOON)


@dataclass(frozen=True)
class Row:
    """One row of a table or part of a figure, and how it is reproduced.

    `hours` on an A100 are None where no part of the cost is known; `gap` says what is still not as
    published, and why.
    """

    table: str
    row: str
    commands: tuple[str, ...]
    needs: str
    hours: float | None
    gap: str


_WHERE = (
    "Neither paper says whether each image's click is drawn from its own reference: here both images of a "
    "session get the structural one's."
)
_CROP = (
    "The released script draws its clicks with torch's generator on a grid of 1.5 mm and lets later structures "
    "overwrite earlier ones; it also draws negative clicks where its cube reaches beyond the image. Here the same "
    f"rule draws other points, in the image only, and structures may overlap. {_WHERE}"
)
_TEXT = (
    f"{_CROP} The paper's text describes cubes that slide, which no released script does: the plan "
    "`sliding_192mm:1:0` does it."
)
# segmenter -> its plan of prompts, and what is not as published
PLANS: dict[str, tuple[str, str]] = {
    "sam_med3d_turbo": ("official_crop_192mm:1:0", _CROP),
    "seganypet_v2": ("official_crop_192mm:1:0", _TEXT),
    "seganypet_lesion": ("official_crop_192mm:1:0", _TEXT),
    "segvol": (
        "random:1:0",
        "The demo takes a random voxel of its resized label; UMD does not say where its click lies. "
        + _WHERE,
    ),
    "nninteractive": (
        "centre:1:0",
        "No rule for a click is published: the deepest voxel here. UMD can only have used version 1 of the "
        f"package; version 2 runs here. {_WHERE}",
    ),
    "vista3d": (
        "class:1:0",
        "Structures may overlap here, where the bundle keeps the most probable class of a voxel.",
    ),
    "sat_pro": ("text:1:0", "The papers do not print their texts: here the structures' names in lower case."),
}
_FOUNDATION = ("sam_med3d_turbo", "segvol", "nninteractive", "vista3d", "sat_pro")
_LESIONS = (
    "A score table has one answer per structure, so the lesions of a patient are one structure with one click. "
    "The paper prompts lesion by lesion (its figure 5) and prints a DSC per case, without a script; the hours are "
    "those of a click per lesion."
)
_NOT_ASKED = {
    "vista3d": "Its record here holds the 13 organs: it is not asked for lesions and lobes of the lung.",
    "sat_pro": "Its texts here are those of the 13 organs: it is not asked for lesions and lobes of the lung.",
}


def _needs(segmenter: str, cohort: Cohort) -> str:
    """Cohort, weights, environment and device of a row."""
    record = registry.get(segmenter)
    own = f" and its own environment (`umdlib segmenters --make {segmenter}`)" if record.external else ""
    return f"{cohort.needs}; the weights of {record.title} (`umdlib weights where {segmenter}`){own}; a GPU"


def _score(segmenter: str, cohort: Cohort, plan: str, out: str = "{out}") -> str:
    """Command that scores one system on a cohort."""
    pet = " --modality PET" if list(cohort.images) == ["PET"] else ""
    return (
        f"umdlib score {cohort.manifest} --segmenters {segmenter} --prompts {plan} --session {cohort.session}"
        f"{pet} --device {{device}} --out {out}"
    )


def _scored(table: str, segmenter: str, cohort: Cohort, gap: str = "") -> Row:
    """Row of one system prompted for all structures of a cohort in its own way."""
    plan, differs = PLANS[segmenter]
    title, needs = f"{registry.get(segmenter).title}, {cohort.name}", _needs(segmenter, cohort)
    hours, gap = cohort.hours(TIMES[segmenter]), f"{gap} {differs}".strip()
    return Row(table, title, (_score(segmenter, cohort, plan),), needs, hours, gap)


_POINTS = (
    "The size of SAM, the greys and whether a slice's points are drawn per part are not stated: ViT-H here, greys "
    "as MedSAM prepares them, points in each part of each slice."
)


def _seganypet_s3() -> list[Row]:
    """Rows of SegAnyPET's table S3."""
    off_label = (
        "MedSAM was not trained with points (bowang-lab/MedSAM#239); its own way is `boxes_per_slice`. "
    )
    found = []
    for name, n, time, title, gap in (
        ("sam_vit_h", 3, "sam_vit_h points_per_slice_3", "SAM, 3N points", _POINTS),
        ("sam_vit_h", 5, "sam_vit_h points_per_slice_5", "SAM, 5N points", _POINTS),
        ("medsam", 5, "medsam", "MedSAM, 5N points", off_label + _POINTS),
    ):
        commands = (_score(name, _SIX, f"points_per_slice_{n}:1:0"),)
        found.append(Row("SegAnyPET S3", title, commands, _needs(name, _SIX), _SIX.hours(TIMES[time]), gap))
    more = ("nninteractive", "sam_med3d_turbo", "seganypet_v2")
    return [*found, *(_scored("SegAnyPET S3", name, _SIX) for name in more)]


def _specialist(table: str, network: str) -> Row:
    """Row of a specialist of SegAnyPET's tables S1 and S2."""
    commands = (
        f"umdlib train specialist C2-C4/manifest.tsv --session petct --modality PET --network {network} --recipe "
        f"full --device {{device}} --out {{out}}/{network} --release {{out}}/networks",
        f"umdlib score {ORGAN.manifest} --segmenters specialist:{{out}}/networks/{network}_full --prompts class:1:0 "
        "--modality PET --device {device} --out {out}",
    )
    gap = (
        "Sizes and folds are not stated: all training subjects in one fold, the sizes of each network's card."
    )
    if TRAINING[network] is None:
        gap += " How long its training takes is not published."
    needs = f"SegAnyPET's cohorts C2 to C4 and PETS-Organ ({_CONTROLLED}); a GPU"
    return Row(table, network, commands, needs, TRAINING[network], gap + " Prediction is not in the hours.")


def _seganypet_points(table: str) -> Row:
    """SegAnyPET with one, three and five points."""
    command = _score("seganypet_v2", ORGAN, "official_crop_192mm:1:4")
    hours = 5 * 5 / ORGAN.structures * ORGAN.hours(TIMES["seganypet_v2"])
    gap = f"Steps 0, 2 and 4 of the run are one, three and five points. {_TEXT}"
    return Row(table, "SegAnyPET, 1, 3 and 5 points", (command,), _needs("seganypet_v2", ORGAN), hours, gap)


def _umd_specialist() -> Row:
    """UMD's nnU-Net on ten cases of each modality."""
    commands = []
    for cohort in (PETCT, PETMR):
        ten, session = f"{{out}}/ten_{cohort.session}", cohort.session
        subjects = "S01,S02,S03,S04,S05,S06,S07,S08,S09,S10"
        commands.append(f"umdlib subset {cohort.manifest} {ten} --subjects {subjects}")
        commands += [
            f"umdlib train specialist {ten}/manifest.tsv --session {session} --modality {modality} --network nnunet "
            f"--recipe full --device {{device}} --out {{out}}/nnunet_{session}_{modality} --release {{out}}/networks"
            for modality in cohort.images
        ]
    trained = "specialist:{out}/networks/nnunet_full"
    commands += [_score(trained, cohort, "class:1:0") for cohort in (PETCT, PETMR)]
    gap = (
        "Which ten cases, which configuration and how many folds are not stated: nnU-Net's 3d_fullres for 1000 epochs, "
        "one fold of all ten. Prediction is not in the hours."
    )
    needs = f"{_SOON}; ten subjects of each session in place of S01 to S10; a GPU"
    return Row("UMD 3", "nnUNet, 10 Tr", tuple(commands), needs, 4 * TRAINING["nnunet"], gap)


def _seganypet_s4() -> list[Row]:
    """Rows of SegAnyPET's table S4, which are also those of figures 3 (internal) and 4a (external)."""
    systems = ("sam_med3d_turbo", "sat_pro", "vista3d", "segvol", "nninteractive", "seganypet_v2")
    rows = []
    for cohort in (ORGAN, _LYMPH, LUNG, _PETCT_PET, _PETMR_PET, PSMA):
        for name in (*systems, *(("seganypet_lesion",) if cohort.masks else ())):
            gap = _LESIONS if cohort.masks else _NOT_ASKED.get(name, "") if cohort is ORGAN else ""
            row = _scored("SegAnyPET S4", name, cohort, gap)
            if cohort.masks and name in _NOT_ASKED:
                row = replace(row, commands=(), hours=None, gap=_NOT_ASKED[name])
            rows.append(row)
    return rows


def _effort() -> Row:
    """Annotation effort in lymphoma and lung cancer: points until a mask is good enough."""
    cohorts, clicks = (_LYMPH, LUNG), 4
    plan = f"official_crop_192mm:1:{clicks}"
    commands = [_score("seganypet_v2", c, plan, "{out}/effort") for c in cohorts]
    commands.append("umdlib run clicks -p scores {out}/effort/scores.parquet --out {out}/pages")
    hours = sum((1 + clicks) * c.hours(TIMES["seganypet_v2"]) for c in cohorts)
    gap = (
        "The minutes of two physicians, with points and drawing by hand, are not repeated. The page counts the points "
        "and the computing time until a mask reaches a score (parameter `satisfied`), with clicks of a rule that sees "
        f"the reference. {_LESIONS}"
    )
    needs = _needs("seganypet_v2", _LYMPH)
    return Row("SegAnyPET F4", "(b): annotation effort", tuple(commands), needs, hours, gap)


def _network() -> Row:
    """Network of organs whose uptake varies together over subjects, from masks of UMD's PET."""
    commands = (
        "umdlib quantities {petct} --out {out}",
        "umdlib run consequence -p manifest {petct} -p scores {out}/scores.parquet -p quantities "
        "{out}/quantities.parquet -p root {out} --out {out}/pages",
    )
    gap = (
        "The paper prints a picture without values and does not say how an edge is drawn. The page compares the "
        "network from masks with that from references, which the paper does not show."
    )
    needs = "SegAnyPET's rows of S4 on UMD PET/CT"
    return Row("SegAnyPET F4", "(c): metabolic network", commands, needs, 0.0, gap)


def _figures() -> list[Row]:
    """Figures 2 to 5 of SegAnyPET, by the tables that hold their numbers."""

    def shown(table: str, row: str, chapter: str, needs: str, gap: str) -> Row:
        command = f"umdlib run {chapter} -p scores {{out}}/scores.parquet --out {{out}}/pages"
        return Row(table, row, (command,), needs, 0.0, gap)

    lesions, other = "The pictures are not made anew.", "Another layout."
    return [
        shown("SegAnyPET F2", "(a), (b): boxes of S1 and S2", "supervised", "the rows of S1", other),
        shown("SegAnyPET F3", "(b): internal cohorts", "by_structure", "the rows of S4", other),
        shown("SegAnyPET F4", "(a): external cohorts", "by_structure", "the rows of S4", other),
        _effort(),
        _network(),
        shown("SegAnyPET F5", "points on organs and on lesions", "clicks", "the rows of S1 and S4", lesions),
    ]


def rows(
    *,
    petct: str = "PETCT/manifest.tsv",
    petmr: str = "PETMR/manifest.tsv",
    device: str = "cuda",
    out: str = "RUN",
) -> list[Row]:
    """Every row of UMD's tables 1 to 3 and of SegAnyPET's S1 to S4 and figures 2 to 5."""
    first = [_scored(f"UMD {n}", s, c) for n, c in ((1, PETCT), (2, PETMR)) for s in _FOUNDATION]
    reported = "umdlib run reported -p scores {out}/scores.parquet --out {out}/pages"
    printed = "The column of reported numbers is printed, not measured: its test data are other data."
    titles = [registry.get(name).title for name in _FOUNDATION]
    third = [Row("UMD 3", t, (reported,), "its rows of tables 1 and 2", 0.0, printed) for t in titles]
    fourth = [*(_specialist("SegAnyPET S1", n) for n in TRAINING), _seganypet_points("SegAnyPET S1")]
    nsd = (
        "NSD of the paper counts boundary voxels within 1, without a unit; here it is area within 1 mm. The page on "
        "scoring shows what that changes."
    )
    shown = "umdlib run supervised -p scores {out}/scores.parquet -p nsd surface_dice_1mm --out {out}/pages"
    fourth += [
        replace(r, table="SegAnyPET S2", commands=(shown,), needs="its row of S1", hours=0.0, gap=nsd)
        for r in fourth
    ]
    found = [*first, *third, _umd_specialist(), *fourth, *_seganypet_s3(), *_seganypet_s4(), *_figures()]
    places = {"petct": petct, "petmr": petmr, "device": device, "out": out}
    return [replace(r, commands=tuple(c.format(**places) for c in r.commands)) for r in found]


def check(command: str, folder: str | Path = "notebooks") -> None:
    """Dry run of a command: parsed by the project's parser, and every name in it known.

    Segmenters, protocols (each of a kind that the segmenter takes), sessions, modalities, recipes, networks,
    notebooks and their parameters. Files need not be there.

    InputError: the command, and what is wrong in it.
    """
    words = shlex.split(command)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            given = cli.parser().parse_args(words[1:])
    except SystemExit:
        raise InputError(f"`{command}` cannot be parsed: {errors.getvalue().strip()}") from None
    if words[0] != "umdlib" or not hasattr(given, "run"):
        raise InputError(f"`{command}` is not a command of this project.")
    if getattr(given, "session", None):
        labels.session(given.session)
    if getattr(given, "modality", None):
        labels.modality(given.modality)
    if words[1] == "score":
        _check_score(command, given)
    elif words[1:3] == ["train", "specialist"]:
        recipes.recipe(given.recipe)
        if given.network not in TRAINERS:
            raise unknown_name("network", given.network, TRAINERS)
    elif words[1] == "run":
        for name in given.notebook:
            notebook.parse_values(Path(folder) / f"{name}.ipynb", dict(given.p))


def _check_score(command: str, given) -> None:
    """Whether every segmenter of a command exists and takes the prompts of every plan."""
    plans = evaluation.parse_plans(given.prompts)
    for name in given.segmenters.split(","):
        prefix, colon, _ = name.partition(":")
        if colon and prefix in registry.OWN:
            continue  # a training of the user's own, whose card is not there yet
        record = registry.get(name)
        for plan in plans:
            if protocols.kind_given(plan.protocol) not in record.prompts:
                raise InputError(
                    f"`{command}`: segmenter '{name}' takes {', '.join(sorted(record.prompts))}, "
                    f"not the prompts of '{plan.protocol}'."
                )


def check_all(found: list[Row]) -> int:
    """Number of different commands of the rows, each checked by a dry run."""
    commands = dict.fromkeys(c for row in found for c in row.commands)
    for command in commands:
        check(command)
    return len(commands)


_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")


def _notes(row: Row) -> list[str]:
    """What is not as published in a row, by sentence."""
    return _SENTENCES.split(row.gap)


def numbered_notes(found: list[Row]) -> dict[str, int]:
    """Every sentence on what is not as published, once, to its number."""
    sentences = dict.fromkeys(note for row in found for note in _notes(row))
    return {sentence: number for number, sentence in enumerate(sentences, 1)}


def notes_markdown(found: list[Row]) -> str:
    """The notes as a numbered list."""
    return "\n".join(f"{number}. {sentence}" for sentence, number in numbered_notes(found).items())


def markdown(found: list[Row]) -> str:
    """All rows, a fold for each table: what all of them need, then each row's command, cost, needs and notes."""
    numbers, folds = numbered_notes(found), []
    for table in dict.fromkeys(r.table for r in found):
        own = [r for r in found if r.table == table]
        shared = [need for need in own[0].needs.split("; ") if all(need in r.needs.split("; ") for r in own)]
        lines = [f"All need {'; '.join(shared)}.", ""] if shared and len(own) > 1 else []
        for row in own:
            needs = [n for n in row.needs.split("; ") if n not in shared or len(own) == 1]
            about = [_hours(row.hours), *needs]
            noted = ", ".join(str(numbers[note]) for note in _notes(row))
            lines += [f"**{row.row}**: {'; '.join(about)}. Notes {noted}.", ""]
            lines += ["```bash", *row.commands, "```", ""] if row.commands else []
        folds.append(page.fold(f"{table}: {count(len(own), 'row')}", "\n".join(lines)))
    return "\n\n".join(folds)


def _hours(hours: float | None) -> str:
    """Computed hours in words."""
    if hours is None:
        return "no cost can be computed"
    return "no GPU" if hours == 0 else f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def cost_markdown(found: list[Row]) -> str:
    """Hours of each table on one A100."""
    table = pd.DataFrame([(r.table, not r.commands, r.hours) for r in found], columns=["Table", "n", "h"])
    shown = table.groupby("Table", sort=False).agg({"n": ["size", "sum"], "h": "sum"}).reset_index()
    shown.columns = ["Table", "Rows", "Without a command", "Hours on one A100, computed"]
    return markdown_table(shown.assign(**{shown.columns[3]: shown.iloc[:, 3].map(_hours)}))


def sharing() -> pd.DataFrame:
    """Hours of UMD's tables 1 and 2 by system: each structure asked by itself, and as it is asked here.

    The same windows, answers and seconds on both sides. Only what a system did for each structure anew, and now
    does once an image, differs: VISTA3D's encoding of all windows, SegVol's preparation of a CT.
    """
    found = []
    for name in _FOUNDATION:
        hours = sum(c.hours(TIMES[name]) for c in (PETCT, PETMR))
        alone = hours * PETCT.structures if name == "vista3d" else hours
        if name == "segvol":
            once = PETCT.images["CT"] * PREPARATION.seconds / 3600
            hours, alone = hours + once, alone + once * PETCT.structures
        found.append((registry.get(name).title, alone, hours, _SHARED.get(name, "")))
    columns = ["System", "Hours, each structure by itself", "Hours, as asked here", "Done once an image"]
    table = pd.DataFrame(found, columns=columns)
    return pd.concat([table, pd.DataFrame([["all five", *table[columns[1:3]].sum(), ""]], columns=columns)])


_SHARED = {"vista3d": "each window is encoded for all structures", "segvol": "a CT is read and resized"}


def sharing_markdown() -> str:
    """The two estimates of a whole run of UMD."""
    table = sharing()
    for column in table.columns[1:3]:
        table[column] = [_hours(h) for h in table[column]]
    return markdown_table(table)


def parts_markdown() -> str:
    """The parts that the hours are computed from, each with its source."""
    times = TIMES | {"segvol, preparation of a CT": PREPARATION}
    rows_ = [{"System": n, "Seconds": t.seconds, "Per": t.unit, "Source": t.source} for n, t in times.items()]
    rows_ += [
        {"System": f"training of {n}", "Seconds": 3600.0 * h, "Per": "training", "Source": _TRAINING_SOURCE}
        for n, h in TRAINING.items()
        if h
    ]
    return markdown_table(pd.DataFrame(rows_), {"Seconds": ".1f"})
