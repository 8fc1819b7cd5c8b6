"""The command line: the only place that knows the whole way from images to pages."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import umdlib
from umdlib.canaries import command as certify_command
from umdlib.cohort.importing import KINDS
from umdlib.errors import InputError, unknown_name
from umdlib.requests import command as segment_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status. Bad input ends with one sentence and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a letter that the terminal lacks is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    commands = parser()
    arguments = commands.parse_args(segment_command.signed(sys.argv[1:] if argv is None else argv))
    if not hasattr(arguments, "run"):
        commands.print_help()
        return 0
    try:
        with _terminable():
            return arguments.run(arguments) or 0
    except InputError as error:
        print(f"umdlib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        ended = isinstance(error, _Terminated)
        print(
            f"umdlib: {'terminated' if ended else 'interrupted'}. What was finished is kept; the same command "
            "resumes.",
            file=sys.stderr,
        )
        return 143 if ended else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands, in the order of this file."""
    top = argparse.ArgumentParser(
        prog="umdlib",
        description=umdlib.__doc__,
        epilog="Start: umdlib synthesise cohort --subjects 2, then "
        "umdlib score cohort/manifest.tsv --segmenters threshold --out results/mine",
    )
    top.add_argument("--version", action="version", version=f"umdlib {umdlib.__version__}")
    groups = {"": top.add_subparsers(title="commands", metavar="COMMAND")}
    for name, command in _COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group not in groups:
            kinds = groups[""].add_parser(group, **_described(_GROUPS[group]))
            groups[group] = kinds.add_subparsers(title="kinds", metavar="KIND", required=True)
        p = groups[group].add_parser(last, **_described(command.text, command.epilog))
        p.set_defaults(run=command.run)
        for flags, rules in command.arguments:
            p.add_argument(*flags, **rules)
    return top


class _Command(NamedTuple):
    """A command: what it runs, one line of help, its arguments, and what stands below them."""

    run: Callable[[argparse.Namespace], int | None]
    text: str
    arguments: tuple[tuple[tuple[str, ...], dict], ...]
    epilog: str


_COMMANDS: dict[str, _Command] = {}
_GROUPS = {"train": "train a reference on a cohort of your own; resumes after a kill"}


def _command(name: str, text: str, *arguments, epilog: str = ""):
    """Make the function below a command; a name of two words is a kind of a group."""

    def registered(run):
        _COMMANDS[name] = _Command(run, text, arguments, epilog)
        return run

    return registered


def _described(text: str, epilog: str = "") -> dict:
    """Help and description of a command, with the lines of its epilog as they are."""
    formatter = argparse.RawDescriptionHelpFormatter if epilog else argparse.HelpFormatter
    described = text[0].upper() + text[1:] + "."
    return {"help": text, "description": described, "epilog": epilog, "formatter_class": formatter}


def _arg(*flags: str, **rules) -> tuple[tuple[str, ...], dict]:
    """What `argparse.ArgumentParser.add_argument` takes."""
    return flags, rules


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 1 or more")
    return int(text)


def _say(line: str) -> None:
    print(line, flush=True)


_MANIFEST = _arg("manifest", metavar="MANIFEST", help="manifest.tsv of the cohort")
_TRAINING_MANIFEST = _arg("manifest", metavar="MANIFEST", help="manifest.tsv of the training cohort")
_FOLDER = _arg("out", metavar="OUT", help="folder to fill; OUT/manifest.tsv describes it")
_SEED = _arg("--seed", type=int, default=0, metavar="S", help="random seed (default 0)")
_SPACING = _arg(
    "--spacing", type=float, default=4.0, metavar="MM", help="voxel size of PET in mm (default 4)"
)
_SIMULATED_SESSION = _arg("--session", default="petct", help="petct (default) or petmr")
_FACTOR = _arg(
    "--factor",
    action="append",
    default=[],
    metavar="NAME=STRENGTH",
    help="strength of a part of the physics, 0 to leave it out; repeat",
)
_SUBJECTS = _arg("--subjects", default="", metavar="a,b", help="these subjects only")
_DEVICE = _arg("--device", default="cpu", help="cpu (default) or cuda")
_TOLERANCES = _arg("--tolerances", default="1,5", metavar="MM,MM", help="of surface Dice (default 1,5)")


def _simulated(a):
    """What the options of a command simulate of each subject."""
    from umdlib import synthetic

    return synthetic.Settings(a.spacing, a.lesions, synthetic.factors(synthetic.read_strengths(a.factor)))


@_command(
    "synthesise",
    "make a synthetic cohort with known truth",
    _FOLDER,
    _arg(
        "--subjects",
        type=_positive,
        default=4,
        metavar="N",
        help="subjects per session: N PET/CT and N PET/MR (default 4)",
    ),
    _SEED,
    _SPACING,
    _arg("--lesions", type=int, default=0, metavar="N", help="lesions per subject (default 0)"),
    _arg("--only", default="", metavar="a,b", help="these subjects only, the same as in the whole"),
    _arg("--jobs", type=_positive, default=1, metavar="N", help="subjects at once (default 1)"),
    _FACTOR,
)
def _synthesise(a) -> None:
    from umdlib import synthetic

    manifest = synthetic.synthesise(
        Path(a.out),
        subjects=a.subjects,
        seed=a.seed,
        settings=_simulated(a),
        only=[s for s in a.only.split(",") if s],
        jobs=a.jobs,
        progress=_say,
    )
    _say(f"Cohort: {manifest}")


@_command(
    "simulate",
    "image the body in a label map of your own",
    _arg("label_map", metavar="LABELMAP", help="NIfTI file, e.g. TotalSegmentator's"),
    _FOLDER,
    _arg("--names", metavar="TSV", help="columns index and name of its values (default: the 13 structures)"),
    _SIMULATED_SESSION,
    _SEED,
    _SPACING,
    _arg("--lesions", type=int, default=0, metavar="N", help="lesions (default 0)"),
    _FACTOR,
)
def _simulate(a) -> None:
    from umdlib import synthetic

    manifest = synthetic.simulate_cohort(
        a.label_map,
        a.out,
        session=a.session,
        seed=a.seed,
        names=synthetic.read_names(a.names) if a.names else None,
        settings=_simulated(a),
    )
    _say(f"Cohort: {manifest}")


@_command(
    "check",
    "read every file of a cohort and list all faults, doubts and notes",
    _MANIFEST,
    _arg(
        "--inside",
        metavar="DIR",
        help="refuse files outside this folder: for a manifest that came from elsewhere",
    ),
    _arg("--json", metavar="FILE", help="write cases and findings with their numbers to this file"),
    _arg("--jobs", type=_positive, default=1, metavar="N", help="examinations at once (default 1)"),
)
def _check(a) -> int:
    from umdlib import cohort

    found, report = cohort.check_manifest(a.manifest, inside=a.inside, jobs=a.jobs, progress=_say)
    if found.cases:
        _say(cohort.inclusion_table(found).to_string(index=False))
    _say(f"Structures: {', '.join(s.name for s in found.structures)}")
    for row in report.findings.itertuples():
        where = " ".join(part for part in (row.subject, row.session, row.modality) if part)
        _say(f"{row.kind.upper()} {where}: {row.message}" if where else f"{row.kind.upper()}: {row.message}")
    counts = report.findings["kind"].value_counts()
    rows = int((report.findings["check"] == "manifest").sum())  # that give no case
    bad = rows + int((report.cases["fault"] != "").sum())
    _say(
        f"{_counted(len(report.cases) + rows, 'case')}, {bad} with a fault or doubt: "
        + ", ".join(_counted(int(counts.get(kind, 0)), kind) for kind in ("fault", "doubt", "note"))
    )
    if not found.pairs():
        _say("No subject has both a structural image and PET: the book needs at least one pair.")
    if a.json:
        _say(f"Report: {cohort.write_report(a.json, a.manifest, report)}")
    return 0 if report.sound else 1


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


@_command(
    "import",
    "make a cohort of files that exist already",
    _arg("kind", metavar="KIND", help="how the files are laid out, see below"),
    _arg("source", metavar="SOURCE", help="folder of the files; nothing in it is changed"),
    _arg("dest", metavar="DEST", help="folder to fill, or the manifest.tsv to write"),
    _arg("--dry-run", action="store_true", help="say what it would do, and write nothing"),
    _arg("--names", metavar="TSV", help="what labels mean: columns value, name, structure [, scheme, file]"),
    _arg("--ids", metavar="TSV", help="new ids: columns source, subject; made if absent (dicom: by default)"),
    _arg("--copy", action="store_true", help="copy all images and references, scrubbed"),
    _arg(
        "--outside",
        action="store_true",
        help="voxels that are not a number lie outside the field of view: make them air or 0, in a copy",
    ),
    _arg("--image", default="", metavar="PATTERN", help="pattern: e.g. '{subject}/{modality}.nii.gz'"),
    _arg(
        "--reference", default="", metavar="PATTERN", help="pattern: e.g. '{subject}/{modality}_seg.nii.gz'"
    ),
    _arg(
        "--modality",
        action="append",
        default=[],
        metavar="NAME=CT",
        help="pattern: which modality a name stands for; repeat",
    ),
    _arg("--suv", default="bw", metavar="KIND", help="dicom, bids: bw (default), lbm or bsa"),
    _arg("--apart", action="store_true", help="dicom, ibsi: also enrol images of another day than the PET"),
    _arg("--organs", metavar="DIR", help="autopet: AutoPET-Organ's labels, or organ maps fdg_<hash>.nii.gz"),
    _arg("--target", default="organs", metavar="WHAT", help="deep-psma: organs (default) or lesions"),
    epilog="kinds:\n" + "\n".join(f"  {kind:17} {text}" for kind, (_, text) in KINDS.items()),
)
def _import(a) -> None:
    from umdlib.cohort.importing import ImportOptions, plan_import
    from umdlib.cohort.plan import Destination, carry_out
    from umdlib.cohort.privacy import read_ids

    place = Destination.of(a.dest)
    modalities = {}
    for item in a.modality:
        name, equals, modality = item.partition("=")
        if not equals:
            raise InputError(f"Invalid --modality '{item}'. Write NAME=CT, NAME=PET or NAME=MR.")
        modalities[name] = modality
    if a.target not in ("organs", "lesions"):
        raise unknown_name("target", a.target, ("organs", "lesions"))
    options = ImportOptions(
        a.names, a.image, a.reference, modalities, a.suv, a.apart, a.organs, a.target, place.folder
    )
    plan = plan_import(a.kind, a.source, options, _say)
    ids = read_ids(a.ids or (place.beside("ids") if a.kind == "dicom" else None))
    if a.dry_run:
        _say(plan.text())
        _say(f"Nothing was written. Without --dry-run: {place.manifest}")
        return
    manifest = carry_out(plan, a.dest, ids=ids, copy=a.copy, outside=a.outside, say=_say)
    _say(plan.text())
    if ids.path is not None:
        _say(f"Who is who: {ids.path} (keep it to yourself)")
    _say(f"All notes, and all that was left out: {place.beside('import')}")
    _say(f"Manifest: {manifest}")


@_command(
    "cohorts",
    "public sets of paired images: list, show, fetch, unpack, cite",
    _arg(
        "action",
        choices=("list", "show", "fetch", "unpack", "cite"),
        help="what to do; only fetch uses the network",
    ),
    _arg(
        "name",
        nargs="?",
        default="",
        metavar="NAME",
        help="of a set, as `umdlib cohorts list` prints it; unpack: a ZIP or tar file",
    ),
    _arg("folder", nargs="?", default="", metavar="FOLDER", help="fetch and unpack: where it goes"),
    _arg("--only", default="", metavar="START", help="fetch: files that begin with this, e.g. STS_001"),
)
def _cohorts(a) -> None:
    from umdlib.cohort import archives, public

    if a.action == "list":
        for r in public.records():
            _say(f"{r.name:18} {r.access:13} {r.images}; masks: {r.masks}")
        return
    if not a.name:
        raise InputError(
            f"umdlib cohorts {a.action} needs "
            + (
                "an archive and a FOLDER."
                if a.action == "unpack"
                else "the NAME of a set, see `umdlib cohorts list`."
            )
        )
    if a.action == "show":
        _say(public.record(a.name).text())
    elif a.action == "cite":
        _say(public.record(a.name).cite())
    elif not a.folder:
        raise InputError(f"umdlib cohorts {a.action} needs a FOLDER after the name.")
    elif a.action == "unpack":
        paths = archives.unpack(a.name, a.folder, say=_say)
        _say(f"{_counted(len(paths), 'file')} in {a.folder}")
    else:
        paths = public.fetch(a.name, a.folder, only=a.only, say=_say)
        found = public.record(a.name)
        _say(f"{_counted(len(paths), 'file')} in {a.folder}. Licence: {found.licence}. Cite: {found.cite()}")
        for packed in filter(archives.is_archive, paths):
            _say(f"Next: umdlib cohorts unpack {packed} {a.folder}")
        _say(f"Next: umdlib import {found.import_as} {a.folder} DEST --dry-run")


@_command(
    "subset",
    "write a manifest of a part of a cohort; the images stay where they are",
    _MANIFEST,
    _arg("out", metavar="OUT", help="folder of the part; OUT/manifest.tsv is written"),
    _SUBJECTS,
    _arg("--session", default="", metavar="SESSION", help="petct or petmr only"),
    _arg("--structures", default="", metavar="a,b", help="these structures only"),
)
def _subset(a) -> None:
    from umdlib.cohort.manifest import read_cohort
    from umdlib.cohort.subset import write_subset

    named = {k: [n for n in getattr(a, k).split(",") if n] for k in ("subjects", "structures")}
    _say(f"Manifest: {write_subset(read_cohort(a.manifest), a.out, session=a.session, **named)}")


@_command(
    "segmenters",
    "list the systems and what each needs",
    _arg("--make", metavar="NAME", help="make the environment of a system that runs out of process"),
    _arg("--checkout", metavar="PATH", help="with --make: your own checkout of its code; else cloned"),
    _arg("--python", metavar="PATH", help="with --make: the interpreter; else the one its list names"),
)
def _segmenters(a) -> None:
    from umdlib import segmenters

    if a.make:
        from umdlib.segmenters.external import worker as external

        home = external.make(a.make, checkout=a.checkout, python=a.python, say=_say)
        _say(f"Environment: {home}")
        return
    if a.checkout or a.python:
        raise InputError("--checkout and --python go with --make NAME.")

    for name in segmenters.names():
        record = segmenters.get(name)
        available, reason = segmenters.availability(record)
        _say(f"{name:18} {'ready' if available else 'unavailable':12} {record.summary}")
        _say(
            f"{'':18} {'':12} takes {', '.join(sorted(record.prompts))}"
            + (", sees both images" if record.partner else "")
            + ("" if available else f"; {reason}")
        )


@_command(
    "weights",
    "list, find, check, fetch and convert official weights",
    _arg("action", choices=("list", "where", "check", "fetch", "convert"), help="what to do"),
    _arg("names", nargs="*", metavar="NAME", help="a segmenter; for convert: SOURCE TARGET"),
    _arg("--accept", metavar="FILE", help="check: record the hash that this file has now"),
)
def _weights(a) -> None:
    from umdlib.segmenters import inventory
    from umdlib.weights import convert as inert

    wanted = {"list": 0, "where": 1, "fetch": 1, "convert": 2}.get(a.action)
    if wanted is not None and len(a.names) != wanted:
        raise InputError(f"umdlib weights {a.action} takes {wanted} names, not {len(a.names)}.")
    if a.action == "list":
        _say(inventory.list_text())
    elif a.action == "where":
        _say(inventory.where_text(a.names[0]))
    elif a.action == "check":
        _say(inventory.check_text(a.names[0] if a.names else None, accept=a.accept))
    elif a.action == "fetch":
        for path in inventory.fetch(a.names[0], say=_say):
            _say(f"Weights: {path}")
    else:
        _say(inert.convert(*a.names))


@_command(
    "segment", "give one image and a prompt, get a mask on the image's own grid", *segment_command.ARGUMENTS
)
def _segment(a) -> int:
    from umdlib.viewer import check_picture

    return segment_command.run(a, check_picture.draw, _say)


@_command(
    "certify", "check that any program that segments NIfTI files is wired right", *certify_command.ARGUMENTS
)
def _certify(a) -> int:
    return certify_command.run(a, _say)


@_command(
    "score",
    "predict and score a cohort; resumes where it stopped",
    _MANIFEST,
    _arg(
        "--segmenters",
        required=True,
        metavar="a,b",
        help="names of `umdlib segmenters`; module:attribute or file.py:attribute of your own; nnunet:FOLDER, "
        "clicknet:FOLDER/NAME.json or sam_med3d_small:FOLDER/NAME.json that you trained",
    ),
    _arg("--out", required=True, metavar="DIR", help="folder of the run; DIR/scores.parquet is the table"),
    _arg(
        "--prompts",
        default="centre:1:2",
        metavar="PLAN",
        help="protocol[:seeds[:corrective clicks]], comma-separated (default centre:1:2); protocols: "
        "centre, random, boundary, jittered_5mm, box, box_padded_5mm, box_jittered_5mm, scribble, "
        "lasso_16, initial_mask_5mm, class, text, official_random, ritm, official_crop_192mm, sliding_192mm, "
        "points_per_slice_3, boxes_per_slice",
    ),
    _TOLERANCES,
    _arg("--session", help="petct or petmr only"),
    _arg("--modality", help="CT, MR or PET only"),
    _SUBJECTS,
    _DEVICE,
    _arg("--isolate", action="store_true", help="each segmenter in a process of its own"),
    _arg(
        "--time-limit",
        type=float,
        metavar="S",
        help="seconds that a segmenter may take for one image; implies --isolate (default: any)",
    ),
    _arg(
        "--memory-limit",
        type=float,
        metavar="MB",
        help="memory that a segmenter's process may hold; implies --isolate (default: any)",
    ),
    _arg("--retry", action="store_true", help="predict again where a crash or a limit ended an image before"),
    _arg(
        "--allow-unavailable",
        action="store_true",
        help="exit with status 0 although a segmenter was not available",
    ),
)
def _score(a) -> int:
    from umdlib import evaluation
    from umdlib.cohort.manifest import read_cohort
    from umdlib.scores import table as scores

    cohort = read_cohort(a.manifest)
    cases = _chosen_cases(a, cohort)
    table = evaluation.score_cohort(
        cohort,
        list(filter(None, a.segmenters.split(","))),
        a.out,
        cases=cases,
        settings=evaluation.Settings(evaluation.parse_plans(a.prompts), _tolerances(a.tolerances)),
        device=a.device,
        limits=evaluation.Limits(a.time_limit, a.memory_limit, a.isolate, a.retry),
        report=_say,
    )
    others = [c for c in cohort.cases if c not in set(cases)]
    merged = scores.combine(evaluation.add_to_part(Path(a.out), table, others, _say))
    out = Path(a.out) / "scores.parquet"
    scores.write_scores(out, merged, stamp=merged.attrs["stamp"])
    for line in scores.missing_pairs(merged):
        _say(f"unpaired: {line}")
    _say(
        merged.groupby(["segmenter", "session", "modality"])["dice"]
        .describe()[["count", "mean", "std"]]
        .to_string()
    )
    failed = int((table["status"] == "failed").sum())
    _say(f"Scores: {out} ({len(merged)} rows, {failed} failed)")
    _write_quantities(cohort, a.out)
    _say_of_others(out, set(merged["segmenter"]))
    absent = [] if a.allow_unavailable else _absent(table)
    for line in absent:
        print(f"umdlib: {line}", file=sys.stderr)
    return 1 if failed or absent else 0


def _say_of_others(table: Path, named: set[str]) -> None:
    """Say which segmenters of the folder a table leaves out, since the command did not name them."""
    parts = table.parent / "parts"
    others = sorted(p.stem for p in parts.glob("*.parquet") if p.stem not in named)
    if others:
        _say(
            f"Scored here before, not in this table: {', '.join(others)}. With all in --segmenters they are."
        )


def _chosen_cases(a, cohort) -> list:
    """The cases that the options of a command name."""
    from umdlib import labels

    if a.session:
        labels.session(a.session)
    wanted = labels.modality(a.modality).name if a.modality else None
    named = [s for s in a.subjects.split(",") if s]
    for subject in named:
        if subject not in cohort.subjects():
            raise unknown_name("subject", subject, cohort.subjects())
    cases = [
        c
        for c in cohort.cases
        if a.session in (None, c.session)
        and wanted in (None, c.modality)
        and (not named or c.subject in named)
    ]
    if not cases:
        raise InputError(f"No case of {a.manifest} is {a.session or ''} {wanted or ''}.".replace("  ", " "))
    return cases


def _absent(table) -> list[str]:
    """Sentences of the segmenters that gave no number at all, since they are not available here."""
    lines = []
    for name, rows in table.groupby("segmenter", sort=False):
        if rows["status"].eq("unavailable").all():
            reason = rows["reason"].iloc[0].removeprefix("not asked: ")
            lines.append(f"{name} was not asked. {reason[:1].upper() + reason[1:]}")
    return lines


@_command(
    "rescore",
    "score the predictions that a run has kept; nothing is predicted",
    _MANIFEST,
    _arg("--out", required=True, metavar="DIR", help="folder of the run"),
    _TOLERANCES,
)
def _rescore(a) -> None:
    from umdlib import evaluation
    from umdlib.cohort.manifest import read_cohort
    from umdlib.scores import table as scores

    table = evaluation.rescore(
        read_cohort(a.manifest), a.out, tolerances_mm=_tolerances(a.tolerances), report=_say
    )
    evaluation.write_parts(Path(a.out), table)
    out = Path(a.out) / "scores.parquet"
    scores.write_scores(out, table, stamp=table.attrs["stamp"])
    _say(f"Scores: {out} ({len(table)} rows)")
    _write_quantities(read_cohort(a.manifest), a.out)


@_command(
    "reference-scores",
    "what specialists score on their own simulator, from a finished run on it",
    _arg("scores", metavar="SCORES", help="score table of the run, or a released one"),
    _arg("--own", action="store_true", help="of every network, under the prompt that it was trained with"),
    _arg("--out", required=True, metavar="FILE", help="table to write, as umdlib/statistics has it"),
)
def _reference_scores(a) -> None:
    from umdlib import statistics
    from umdlib.files import replaced
    from umdlib.scores.table import read_scores

    scores = read_scores(a.scores)
    table = statistics.measured_own(scores) if a.own else statistics.reference_gap.own_scores(scores)
    with replaced(a.out) as part:
        table.to_csv(part, sep="\t", index=False, lineterminator="\n")
    _say(f"Reference scores: {a.out} ({len(table)} rows)")


@_command(
    "quantities",
    "volume, SUV and HU of the masks that a run has kept; resumes",
    _MANIFEST,
    _arg("--out", required=True, metavar="DIR", help="folder of the run; gets quantities.parquet"),
)
def _quantities(a) -> None:
    from umdlib.cohort.manifest import read_cohort

    _write_quantities(read_cohort(a.manifest), a.out, _say)


@_command(
    "ceilings",
    "the best scores that a cohort's references allow: another grid, a movement, a second reader",
    _MANIFEST,
    _arg("--out", required=True, metavar="DIR", help="folder of the run; gets ceilings.tsv"),
    _arg("--jitter", default="1,2", metavar="MM,MM", help="of a second reader's boundary (default 1,2)"),
    _arg(
        "--shift", type=float, default=10.0, metavar="MM", help="stated movement along the body (default 10)"
    ),
    _arg(
        "--displacements",
        default="",
        metavar="FILE",
        help="estimates.tsv of `umdlib ladder`, or subject, session, structure, x_mm, y_mm, z_mm, tab-separated",
    ),
)
def _ceilings(a) -> None:
    from umdlib import evaluation
    from umdlib.cohort.manifest import read_cohort
    from umdlib.files import write_tsv
    from umdlib.scores.ceilings import FILE

    table = evaluation.cohort_ceilings(
        read_cohort(a.manifest),
        jitter_mm=_millimetres(a.jitter, "Jitter"),
        shift_mm=a.shift,
        displacements=evaluation.read_displacements(a.displacements) if a.displacements else None,
        report=_say,
    )
    out = write_tsv(Path(a.out) / FILE, table.assign(ceiling=table["ceiling"].astype(float).round(6)))
    if table.empty:
        _say("No pair of this cohort has two references: there is no ceiling.")
    _say(table.groupby(["modality", "kind"], sort=False)["ceiling"].mean().round(3).to_string())
    _say(f"Ceilings: {out} ({len(table)} rows)")


@_command(
    "agree",
    "how far segmenters agree with themselves and each other on pairs that need no labels; resumes",
    _MANIFEST,
    _arg("--segmenters", required=True, metavar="a,b", help="as of `umdlib score`"),
    _arg("--out", required=True, metavar="DIR", help="folder of the run; gets agreement.tsv, between.tsv"),
    _arg(
        "--pointer",
        default="",
        metavar="NAME",
        help="segmenter that takes a class and places the clicks where the cohort has no references",
    ),
    _arg("--device", default="cpu", help="cpu (default) or cuda"),
)
def _agree(a) -> None:
    from umdlib import evaluation
    from umdlib.cohort.manifest import read_cohort
    from umdlib.files import write_tsv
    from umdlib.statistics import label_free

    cohort, out = read_cohort(a.manifest), Path(a.out)
    labelled = all(c.reference is not None for pair in cohort.pairs() for c in pair)
    if not labelled and not a.pointer:
        raise InputError(
            f"Cohort {cohort.name} has pairs without references: nothing says where to click. Name a segmenter "
            "that needs no click, e.g. --pointer nnunet_small."
        )
    if a.pointer:
        cohort = evaluation.pointed_cohort(cohort, a.pointer, out / "pointer", device=a.device, report=_say)
    names = [n for n in dict.fromkeys(a.segmenters.split(",")) if n]
    settings = evaluation.Settings((evaluation.Plan("centre", (0,), 0),))
    scored = evaluation.score_cohort(cohort, names, out, settings=settings, device=a.device, report=_say)
    records = list(dict.fromkeys(scored["segmenter"]))
    within, between = evaluation.agree_run(cohort, out, records, references=not a.pointer, report=_say)
    for name, table in (("agreement", within), ("between", between)):
        write_tsv(out / f"{name}.tsv", table)
    _say(label_free.bound_table(within).round(3).to_string(index=False))
    _say(
        f"Agreement: {out / 'agreement.tsv'} ({len(within)} rows), {out / 'between.tsv'} ({len(between)} rows)"
    )


@_command(
    "ladder",
    "how much of the gap is resolution, noise, contrast and alignment; resumes",
    _MANIFEST,
    _arg("--segmenters", required=True, metavar="a,b", help="as of `umdlib score`"),
    _arg("--out", required=True, metavar="DIR", help="folder; gets cells.tsv, shares.tsv, estimates.tsv"),
    _arg("--session", help="petct or petmr only"),
    _SUBJECTS,
    _arg("--shard", default="", metavar="K/N", help="the K-th of N parts of the pairs, K from 1"),
    _arg("--reverse", action="store_true", help="also undo contrast and displacement on PET"),
    _DEVICE,
    epilog="Every combination of the four degradations is estimated from the pair and scored: 17 predictions per\n"
    "structure (20 with --reverse). Shards of one folder share it; the last command without --shard reads all.",
)
def _ladder(a) -> None:
    from umdlib import ladder
    from umdlib.cohort.manifest import read_cohort
    from umdlib.files import write_tsv
    from umdlib.statistics import attribution

    a.modality = None
    cohort, out = read_cohort(a.manifest), Path(a.out)
    cases = set(_chosen_cases(a, cohort))
    pairs = [p for p in cohort.pairs() if cases.issuperset(p)]
    shard = _shard(a.shard)
    names = [n for n in dict.fromkeys(a.segmenters.split(",")) if n]
    if not names:
        raise InputError("No segmenter is named. `umdlib segmenters` lists them.")
    cells, estimates = ladder.ladder_run(
        cohort, names, out, pairs=pairs[shard[0] :: shard[1]], reverse=a.reverse, device=a.device, report=_say
    )
    rows = attribution.share_rows(cells)
    part = f"_{shard[0] + 1}of{shard[1]}" if a.shard else ""
    for name, table in (("cells", cells), ("shares", rows), ("estimates", estimates)):
        write_tsv(out / f"{name}{part}.tsv", table)
    shown = attribution.share_table(rows).drop(columns=["reverse"] * (not a.reverse))
    _say(shown.round(4).to_string(index=False))
    error = attribution.additivity_error(rows)
    _say(
        f"Ladder: {out / f'shares{part}.tsv'} ({len(rows)} rows); shares and residual miss the gap by {error:.1e}"
    )


def _shard(text: str) -> tuple[int, int]:
    """Place and number of shards from ``K/N``; the whole for an empty text."""
    number, slash, of = (text or "1/1").partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise InputError(f"Shard '{text}' is not K/N with K from 1 to N, e.g. 2/4.")
    return int(number) - 1, int(of)


def _write_quantities(cohort, root: str, report: Callable[[str], None] = lambda line: None) -> None:
    """Write the score table's sister: what the masks of a run measure."""
    from umdlib import evaluation
    from umdlib.quantities import write_quantities

    table = evaluation.quantify_run(cohort, root, report=report)
    out = Path(root) / "quantities.parquet"
    write_quantities(out, table, stamp={"cohort": cohort.name})
    _say(f"Quantities: {out} ({len(table)} rows)")


def _tolerances(text: str) -> tuple[float, ...]:
    return _millimetres(text, "Tolerances")


def _millimetres(text: str, name: str) -> tuple[float, ...]:
    try:
        values = tuple(float(t) for t in text.split(","))
    except ValueError:
        raise InputError(f"{name} '{text}' are not numbers in mm, e.g. 1,5.") from None
    if any(not 0 < v < math.inf for v in values):
        raise InputError(f"{name} '{text}' must be above 0 mm and finite.")
    return values


@_command(
    "train specialist",
    "nnU-Net, or another network within it, on one session and modality",
    _TRAINING_MANIFEST,
    _arg("--session", required=True, metavar="NAME", help="petct or petmr"),
    _arg("--modality", required=True, metavar="NAME", help="CT, MR or PET"),
    _arg(
        "--both", action="store_true", help="see the other image of each examination too, as a second channel"
    ),
    _arg("--out", required=True, metavar="DIR", help="folder of this training run"),
    _arg(
        "--network", default="nnunet", metavar="NAME", help="nnunet (default), segresnet, swinunetr or stunet"
    ),
    _arg(
        "--recipe",
        default="small",
        metavar="NAME",
        help="small (default: two CPU cores, minutes), full (1000 epochs, GPU) or smoke",
    ),
    _arg("--epochs", type=_positive, metavar="N", help="instead of the recipe's"),
    _arg("--batch", type=_positive, metavar="N", help="instead of the recipe's"),
    _arg("--threads", type=_positive, metavar="N", help="of torch (default 1)"),
    _SEED,
    _DEVICE,
    _arg("--release", metavar="DIR", help="write weights, card and log to this folder when finished"),
)
def _train_specialist(a) -> None:
    from umdlib import labels
    from umdlib.cohort.manifest import read_cohort
    from umdlib.training.nnunet import recipes, release
    from umdlib.training.nnunet import train as nnunet_train

    cohort = read_cohort(a.manifest)
    session, modality = labels.session(a.session).name, labels.modality(a.modality).name
    if a.both and a.release:
        raise InputError(
            "A network of two images is asked where it was trained, as nnunet:FOLDER; give no --release."
        )
    recipe = recipes.recipe(a.recipe, epochs=a.epochs, batch=a.batch, threads=a.threads)
    folder = nnunet_train.train(
        cohort,
        nnunet_train.Task(session, modality, a.network, a.device, a.seed, a.both),
        a.out,
        recipe=recipe,
        report=_say,
    )
    _say(f"Model: {folder}")
    if a.both:
        _say(f"Score it: umdlib score MANIFEST --segmenters nnunet:{folder} --out RUN")
    if a.release:
        made = release.release(a.out, cohort, a.network, folder=a.release, cores=recipe.threads)
        _say(f"Released: {made.name} ({made.parameters} parameters, {made.size / 1e6:.2f} MB)")
        where = Path(a.release) / f"{a.network}_{a.recipe}"
        _say(f"Score it: umdlib score MANIFEST --segmenters specialist:{where} --out RUN")


@_command(
    "train promptable",
    "a network that takes clicks, on all sessions of a cohort",
    _TRAINING_MANIFEST,
    _arg(
        "--out",
        required=True,
        metavar="DIR",
        help="gets checkpoint, loss curve, and at the end weights and card",
    ),
    _arg("--network", default="clicknet", metavar="NAME", help="clicknet (default) or sam_med3d_small"),
    _arg(
        "--trained-on",
        default="both",
        metavar="NAME",
        help="structural, pet, both (default: one or the other) or pair (both at once, as channels; clicknet only)",
    ),
    _arg(
        "--steps",
        type=_positive,
        metavar="N",
        help="updates (default: 300 for clicknet, 4000 for sam_med3d_small)",
    ),
    _arg(
        "--balanced",
        action="store_true",
        help="as many steps for each kind of image that the training sees, not for all together",
    ),
    _arg("--seed", type=int, default=0, metavar="S", help="of weights and draws"),
    _arg(
        "--start",
        default="",
        metavar="NAME",
        help="network whose weights it begins with: a released one or FOLDER/NAME.json (default random)",
    ),
    _arg("--name", help="of the network (default NETWORK_CHOICE_SEED)"),
    _arg("--without", default="", metavar="A,B", help="structures that are never prompted"),
    _arg("--precision", default="float32", help="float32 (default) or bfloat16"),
    _DEVICE,
    _arg("--threads", type=_positive, metavar="N", help="CPU threads (default all)"),
    _arg(
        "--least",
        type=_positive,
        default=10,
        metavar="N",
        help="fewest subjects of a training run (default 10)",
    ),
    _arg("--smoke", action="store_true", help="a few steps of a tiny network"),
)
def _train_promptable(a) -> None:
    from umdlib.cohort.manifest import read_cohort
    from umdlib.training import promptable, sessions

    sessions.use_threads(a.threads)
    cohort = read_cohort(a.manifest)
    choices = {"trained_on": a.trained_on, "seed": a.seed, "precision": a.precision, "start": a.start}
    settings = sessions.settings_of(a.network, steps=a.steps, smoke=a.smoke, **choices)
    if a.balanced:
        settings = promptable.with_equal_exposure(settings, cohort.sessions())
    card = sessions.train_cohort(
        cohort,
        a.out,
        settings,
        name=a.name or "",
        without=[n for n in a.without.split(",") if n],
        device=a.device,
        least_subjects=a.least,
        say=_say,
    )
    _say(f"Network: {card.name} in {a.out}, {card.parameters:,} parameters, sha256 {card.sha256}")


@_command(
    "domains",
    "make a cohort that differs from the training one",
    _FOLDER,
    _arg(
        "--names",
        default="same,still,scanner,bodies,tracer",
        metavar="a,b",
        help="which ways to differ (default same,still,scanner,bodies,tracer)",
    ),
    _arg("--subjects", type=_positive, default=2, metavar="N", help="of each (default 2)"),
    _SEED,
    _SIMULATED_SESSION,
    _SPACING,
    _arg(
        "--maps",
        default="",
        metavar="DIR",
        help="folder of organ maps fdg_*.nii.gz for the domain organ_maps",
    ),
)
def _domains(a) -> None:
    from umdlib import labels
    from umdlib.training import domains

    labels.session(a.session)
    manifest = domains.write_domains(
        a.out,
        names=[n for n in a.names.split(",") if n],
        subjects=a.subjects,
        seed=a.seed,
        session=a.session,
        spacing_mm=a.spacing,
        maps=domains.organ_maps(a.maps),
        say=_say,
    )
    _say(f"Cohort: {manifest}")


@_command(
    "run",
    "run notebooks with parameters, checked before they start",
    _arg(
        "notebook",
        nargs="*",
        metavar="NOTEBOOK",
        help="name in notebooks/ or a path; none lists them with their parameters",
    ),
    _arg(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a parameter; repeat"
    ),
    _arg("--out", metavar="DIR", default="results/notebooks", help="where the executed copies go"),
    _arg("--name", help="file name of the executed copy (one notebook only)"),
)
def _run(a) -> None:
    from umdbook import notebook

    folder = Path("notebooks")
    if not folder.is_dir() and not all(name.endswith(".ipynb") for name in a.notebook or [""]):
        raise InputError(
            "There is no folder notebooks/ here. Run this in the project's checkout, or name a "
            "notebook by its path."
        )
    if not a.notebook:
        for path in sorted(folder.glob("*.ipynb")):
            _say(path.stem)
            for p in notebook.parameters(path).values():
                _say(f"    -p {p.name} {p.default}   {p.type}{': ' + p.help if p.help else ''}")
        return
    texts = dict(a.p)
    if a.name and len(a.notebook) > 1:
        raise InputError("--name is for one notebook.")
    for name in a.notebook:
        path = Path(name) if name.endswith(".ipynb") else folder / f"{name}.ipynb"
        if not path.is_file():
            raise unknown_name("notebook", name, sorted(p.stem for p in folder.glob("*.ipynb")))
        values = notebook.parse_values(path, texts)
        notebook.execute(path, Path(a.out) / f"{a.name or path.stem}.ipynb", values, report=_say)


@_command(
    "collect",
    "merge the parts of a score table",
    _arg("parts", nargs="+", metavar="PART", help="Parquet files written by inference"),
    _arg("--out", required=True, metavar="FILE", help="score table to write"),
)
def _collect(a) -> None:
    from umdlib.scores import table as scores

    table = scores.combine(a.parts)
    scores.write_scores(a.out, table, stamp=table.attrs["stamp"])
    gaps = scores.missing_pairs(table)
    for line in gaps[:20]:
        _say(f"unpaired: {line}")
    _say(f"== scores: {a.out} ({len(table)} rows, {len(gaps)} unpaired)")


@_command(
    "canaries",
    "check that the adapters of a run are wired right",
    _MANIFEST,
    _arg("root", metavar="RUN", help="folder of the run; gets canaries.tsv"),
    _arg("--segmenters", default="", metavar="A,B", help="as given to the run, where some are your own"),
    _DEVICE,
)
def _canaries(a) -> None:
    from umdlib.canaries import findings as flags
    from umdlib.canaries import replay as canary_run
    from umdlib.cohort.manifest import read_cohort
    from umdlib.scores.table import read_scores

    names = read_scores(Path(a.root) / "scores.parquet")["segmenter"].unique()
    found = canary_run.check_run(
        read_cohort(a.manifest),
        a.root,
        names,
        given=[s for s in a.segmenters.split(",") if s],
        device=a.device,
        report=_say,
    )
    _say(f"Canaries: {flags.write(a.root, found)}, {len(flags.flagged(found))} segmenters flagged")


@_command(
    "audit",
    "check the numbers of a printed table, of any paper",
    _arg("table", metavar="TABLE", help="CSV, Markdown or LaTeX file with the table"),
    _arg("--metric", default="dice", help="metric of columns whose heading names none (default dice)"),
    _arg(
        "--n",
        action="append",
        default=[],
        metavar="[LABEL=]N",
        help="subjects of all cells, or of a row, column or section; repeat",
    ),
    _arg("--unit", default="auto", help="fraction, percent, mm, s, …; by default what the table says"),
    _arg(
        "--brackets",
        default="auto",
        choices=("auto", "median", "interval"),
        help="what brackets hold: quartiles of a median, or an interval; by default as written",
    ),
    _arg("--number", type=_positive, default=1, metavar="K", help="which table of the file (1)"),
    _arg("--complete", action="store_true", help="the paper says that every row has the same subjects"),
    _arg("--tests", metavar="FILE", help="write every test to this CSV file"),
)
def _audit(a) -> int:
    from umdlib import published
    from umdlib.files import replaced

    reading = published.Reading(a.metric, a.unit, published.parse_n(a.n), a.brackets, a.number)
    table = published.read_table(a.table, reading)
    found = published.audit_table(table, complete=a.complete)
    _say(published.audit_report(table, found).rstrip())
    if a.tests:
        with replaced(a.tests) as part:
            found.to_csv(part, index=False)
    return 0 if published.is_sound(found) else 1


@_command(
    "render",
    "assemble a run's chapters and render the book",
    _arg("run_folder", metavar="RUN", help="folder of the run, with notebooks/ and scores.parquet"),
    _arg("notebooks", nargs="+", metavar="NOTEBOOK", help="executed notebooks that make the book"),
    _arg("--out", default="_build/html", metavar="DIR", help="where the pages go"),
)
def _render(a) -> None:
    from umdbook import build as book
    from umdlib.viewer import pair as viewers

    staged = Path(a.run_folder) / "book"
    table = Path(a.run_folder) / "scores.parquet"
    files = {"data": book.downloads(table), "flagged": book.flagged_segmenters(a.run_folder)}
    book.stage("book", staged, a.notebooks, stamp=book.stamp_of(table), **files)
    viewers.install(staged / "_static", staged / "_extra" / "umd")
    index = book.render(staged, "_config.yml", a.out, report=_say)
    _say(f"== book: {index}")


class _Terminated(KeyboardInterrupt):
    """SIGTERM: a scheduler or a user ends the command."""


@contextmanager
def _terminable() -> Iterator[None]:
    """End on SIGTERM as on an interrupt: with a sentence."""

    def terminated(number, frame) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
