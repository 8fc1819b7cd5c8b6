"""The command line: the only place that knows the whole way from images to pages."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import umdlib
from umdlib.canaries import command as certify_command
from umdlib.cohort.importing import KINDS
from umdlib.errors import InputError, unknown_name
from umdlib.requests import command as segment_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status. Bad input ends with one sentence and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a letter that the terminal lacks must not stop a command
            stream.reconfigure(errors="backslashreplace")
    commands = parser()
    words = segment_command.signed(sys.argv[1:] if argv is None else argv)
    arguments = commands.parse_args(words)
    arguments.words = list(words)
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
    """The parser of all commands, as `commands.tsv` lists them.

    A row without an argument begins a command, or a group of commands whose names have two words. An argument
    that ends with ``?``, ``*`` or ``+`` is given at most once, any number of times, at least once. Text that
    is not given is empty, a number that is not given is None.
    """
    top = argparse.ArgumentParser(
        prog="umdlib",
        description=umdlib.__doc__,
        epilog="Start: umdlib synthesise cohort --subjects 2, then "
        "umdlib score cohort/manifest.tsv --segmenters threshold --out results/mine",
    )
    top.add_argument("--version", action="version", version=f"umdlib {umdlib.__version__}")
    groups = {"": top.add_subparsers(title="commands", metavar="COMMAND")}
    parsers: dict[str, argparse.ArgumentParser] = {}
    table = Path(__file__).with_name("commands.tsv").read_text(encoding="utf-8")
    for line in table.splitlines()[1:]:
        name, argument, *rules, text = line.split("\t")
        if argument:
            _add_argument(parsers[name], argument, *rules, text)
            continue
        group, _, last = name.rpartition(" ")
        run, epilog = _COMMANDS.get(name, (None, ""))
        formatter = argparse.RawDescriptionHelpFormatter if epilog else argparse.HelpFormatter
        described = text[0].upper() + text[1:] + "."
        parsers[name] = groups[group].add_parser(
            last, help=text, description=described, epilog=epilog, formatter_class=formatter
        )
        if run is None:
            groups[name] = parsers[name].add_subparsers(title="kinds", metavar="KIND", required=True)
        else:
            parsers[name].set_defaults(run=run)
    return top


def _add_argument(p, argument: str, metavar: str, kind: str, default: str, text: str) -> None:
    """Add the argument of a row to the parser of its command."""
    rules: dict = {"help": text, "default": default}
    if metavar:
        rules["metavar"] = metavar
    if argument[-1] in "?*+":
        argument, rules["nargs"] = argument[:-1], argument[-1]
    if default == "required":
        rules["required"] = True
    if kind == "flag":
        rules |= {"action": "store_true", "default": False}
    elif kind == "repeat":
        rules |= {"action": "append", "default": []}
        if " " in metavar:
            rules |= {"metavar": tuple(metavar.split()), "nargs": 2}
    elif kind in _NUMBERS:
        rules |= {"type": _NUMBERS[kind], "default": default or None}
    elif kind:
        rules["choices"] = kind.split("|")
    p.add_argument(*argument.split(", "), **rules)


_COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int | None], str]] = {}


def _command(name: str, *, epilog: str = ""):
    """Make the function below what a command of `commands.tsv` runs."""

    def registered(run):
        _COMMANDS[name] = run, epilog
        return run

    return registered


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 1 or more")
    return int(text)


_NUMBERS = {"int": int, "float": float, "positive": _positive}


def _say(line: str) -> None:
    print(line, flush=True)


def _listed(text: str) -> list[str]:
    """Names between commas, each once."""
    return [name for name in dict.fromkeys(text.split(",")) if name]


def _simulated(a):
    """Settings of the simulation, from the options of a command."""
    from umdlib import synthetic

    return synthetic.Settings(a.spacing, a.lesions, synthetic.factors(synthetic.read_strengths(a.factor)))


@_command("synthesise")
def _synthesise(a) -> None:
    from umdlib import synthetic

    manifest = synthetic.synthesise(
        Path(a.out),
        subjects=a.subjects,
        seed=a.seed,
        settings=_simulated(a),
        only=_listed(a.only),
        jobs=a.jobs,
        progress=_say,
    )
    _say(f"Cohort: {manifest}")


@_command("simulate")
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


@_command("check")
def _check(a) -> int:
    from umdlib import cohort

    found, report = cohort.check_manifest(a.manifest, inside=a.inside or None, jobs=a.jobs, progress=_say)
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


@_command("import", epilog="kinds:\n" + "\n".join(f"  {kind:17} {text}" for kind, (_, text) in KINDS.items()))
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
        a.names or None, a.image, a.reference, modalities, a.suv, a.apart, a.organs, a.target, place.folder
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


@_command("cohorts")
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


@_command("subset")
def _subset(a) -> None:
    from umdlib.cohort.manifest import read_cohort
    from umdlib.cohort.subset import write_subset

    if a.lesions:
        from umdlib.cohort.lesions import write_lesion_cohort

        if a.subjects or a.session or a.structures:
            raise InputError("Invalid --lesions with --subjects, --session or --structures. Must be alone.")
        _say(f"Manifest: {write_lesion_cohort(read_cohort(a.manifest), a.out)}")
        return
    named = {k: _listed(getattr(a, k)) for k in ("subjects", "structures")}
    _say(f"Manifest: {write_subset(read_cohort(a.manifest), a.out, session=a.session, **named)}")


@_command("segmenters")
def _segmenters(a) -> None:
    from umdlib import segmenters

    if a.make:
        from umdlib.segmenters.external import worker as external

        home = external.make(a.make, checkout=a.checkout or None, python=a.python or None, say=_say)
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


@_command("weights")
def _weights(a) -> None:
    from umdlib.segmenters import inventory
    from umdlib.weights import convert as inert

    wanted = {"list": 0, "where": 1, "fetch": 1, "convert": 2}.get(a.action)
    if wanted is not None and len(a.names) != wanted:
        raise InputError(f"umdlib weights {a.action} takes {_counted(wanted, 'name')}, not {len(a.names)}.")
    if a.action == "list":
        _say(inventory.list_text())
    elif a.action == "where":
        _say(inventory.where_text(a.names[0]))
    elif a.action == "check":
        _say(inventory.check_text(a.names[0] if a.names else None, accept=a.accept or None))
    elif a.action == "fetch":
        for path in inventory.fetch(a.names[0], say=_say):
            _say(f"Weights: {path}")
    else:
        _say(inert.convert(*a.names))


@_command("segment")
def _segment(a) -> int:
    from umdlib.viewer import check_picture

    return segment_command.run(a, check_picture.draw, _say)


@_command("certify")
def _certify(a) -> int:
    return certify_command.run(a, _say)


@_command("score")
def _score(a) -> int:
    if not a.cost:
        return _score_here(a)
    from umdbook import notebook, warm  # a job of the graph

    status = warm.hand_over(a.words, networks=True)
    if status is None:
        began = time.perf_counter()
        status = _score_here(a)
        notebook.keep_cost(a.cost, time.perf_counter() - began)
    return status


def _score_here(a) -> int:
    from umdlib import evaluation
    from umdlib.cohort.manifest import read_cohort
    from umdlib.scores import table as scores

    cohort = read_cohort(a.manifest)
    cases = _chosen_cases(a, cohort)
    table = evaluation.score_cohort(
        cohort,
        _listed(a.segmenters),
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
    wanted = labels.modality(a.modality).name if a.modality else ""
    named = _listed(a.subjects)
    for subject in named:
        if subject not in cohort.subjects():
            raise unknown_name("subject", subject, cohort.subjects())
    cases = [
        c
        for c in cohort.cases
        if a.session in ("", c.session) and wanted in ("", c.modality) and (not named or c.subject in named)
    ]
    if not cases:
        raise InputError(f"No case of {a.manifest} is {' '.join(filter(None, (a.session, wanted)))}.")
    return cases


def _absent(table) -> list[str]:
    """Sentences of the segmenters that gave no number at all, since they are not available here."""
    lines = []
    for name, rows in table.groupby("segmenter", sort=False):
        if rows["status"].eq("unavailable").all():
            reason = rows["reason"].iloc[0].removeprefix("not asked: ")
            lines.append(f"{name} was not asked. {reason[:1].upper() + reason[1:]}")
    return lines


@_command("rescore")
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


@_command("reference-scores")
def _reference_scores(a) -> None:
    from umdlib import statistics
    from umdlib.files import replaced
    from umdlib.scores.table import read_scores

    scores = read_scores(a.scores)
    table = statistics.measured_own(scores) if a.own else statistics.reference_gap.own_scores(scores)
    with replaced(a.out) as part:
        table.to_csv(part, sep="\t", index=False, lineterminator="\n")
    _say(f"Reference scores: {a.out} ({len(table)} rows)")


@_command("quantities")
def _quantities(a) -> None:
    from umdlib.cohort.manifest import read_cohort

    _write_quantities(read_cohort(a.manifest), a.out, _say)


@_command("ceilings")
def _ceilings(a) -> None:
    from umdlib import evaluation
    from umdlib.cohort.manifest import read_cohort
    from umdlib.files import write_tsv
    from umdlib.scores.ceilings import FILE

    if not math.isfinite(a.shift):
        raise InputError(f"Shift {a.shift:g} mm must be finite.")
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


@_command("agree")
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
    names = _listed(a.segmenters)
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
    epilog="Every combination of the four degradations is estimated from the pair and scored: 17 predictions per\n"
    "structure (16 cells and the real PET; 20 with --reverse). Shards write tables of their own into one folder;\n"
    "`umdlib ladder-tables DIR` puts them together.",
)
def _ladder(a) -> None:
    from umdlib import ladder
    from umdlib.cohort.manifest import read_cohort

    a.modality = ""
    cohort, out = read_cohort(a.manifest), Path(a.out)
    cases = set(_chosen_cases(a, cohort))
    pairs = [p for p in cohort.pairs() if cases.issuperset(p)]
    shard = _shard(a.shard)
    if pairs and shard[1] > len(pairs):
        raise InputError(f"Shard '{a.shard}' is one of more parts than there are pairs, {len(pairs)}.")
    names = _listed(a.segmenters)
    if not names:
        raise InputError("No segmenter is named. `umdlib segmenters` lists them.")
    cells, estimates = ladder.ladder_run(
        cohort,
        names,
        out,
        pairs=pairs[shard[0] :: shard[1]],
        settings=ladder.LadderSettings(reverse=a.reverse, device=a.device, run=a.scored or None),
        watch=ladder.Watch(_say),
    )
    _write_ladder(out, cells, estimates, f"_{shard[0] + 1}of{shard[1]}" if a.shard else "")


@_command("ladder-tables")
def _ladder_tables(a) -> None:
    from umdlib import ladder

    cells, estimates = ladder.gathered(a.out)
    _write_ladder(Path(a.out), cells, estimates, "")


def _write_ladder(out: Path, cells, estimates, part: str) -> None:
    """Write cells, shares and estimates, and say the mean shares."""
    from umdlib.files import write_tsv
    from umdlib.statistics import attribution

    rows = attribution.share_rows(cells)
    for name, table in (("cells", cells), ("shares", rows), ("estimates", estimates)):
        write_tsv(out / f"{name}{part}.tsv", table)
    undone = cells["cell"].str.startswith("PET-").any()
    shown = attribution.share_table(rows).drop(columns=[] if undone else ["reverse"])
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


@_command("train specialist")
def _train_specialist(a) -> None:
    from umdlib import labels
    from umdlib.cohort.manifest import read_cohort
    from umdlib.training.nnunet import recipes, release
    from umdlib.training.nnunet import train as nnunet_train

    cohort = read_cohort(a.manifest)
    session, modality = labels.session(a.session).name, labels.modality(a.modality).name
    if a.both and a.release:
        raise InputError(
            "A network of two images cannot be released; run it from its folder, as nnunet:FOLDER, without --release."
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


@_command("train promptable")
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
        name=a.name,
        without=_listed(a.without),
        device=a.device,
        least_subjects=a.least,
        say=_say,
    )
    _say(f"Network: {card.name} in {a.out}, {card.parameters:,} parameters, sha256 {card.sha256}")


@_command("domains")
def _domains(a) -> None:
    from umdlib.training import domains

    manifest = domains.write_domains(
        a.out,
        names=_listed(a.names),
        subjects=a.subjects,
        seed=a.seed,
        session=a.session,
        spacing_mm=a.spacing,
        maps=domains.organ_maps(a.maps),
        say=_say,
    )
    _say(f"Cohort: {manifest}")


@_command("run")
def _run(a) -> int | None:
    from umdbook import warm

    alone = len(a.notebook) == 1
    status = warm.hand_over(a.words, networks=a.notebook[0] == "inference") if alone else None
    return _run_here(a) if status is None else status


def _run_here(a) -> None:
    from umdbook import notebook

    began = time.perf_counter()
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
        output = Path(a.out) / f"{a.name or path.stem}.ipynb"
        notebook.execute(path, output, values, report=_say, minutes=a.minutes)
    if a.cost:
        notebook.keep_cost(a.cost, time.perf_counter() - began)


@_command("collect")
def _collect(a) -> None:
    from umdlib.scores import table as scores

    table = scores.combine(a.parts)
    scores.write_scores(a.out, table, stamp=table.attrs["stamp"])
    gaps = scores.missing_pairs(table)
    for line in gaps[:20]:
        _say(f"unpaired: {line}")
    _say(f"== scores: {a.out} ({len(table)} rows, {len(gaps)} unpaired)")


@_command("canaries")
def _canaries(a) -> None:
    from umdlib.canaries import findings as flags
    from umdlib.canaries import replay as canary_run
    from umdlib.cohort.manifest import read_cohort
    from umdlib.scores.table import read_scores

    names = read_scores(Path(a.root) / "scores.parquet")["segmenter"].unique()
    found = canary_run.check_run(
        read_cohort(a.manifest), a.root, names, given=_listed(a.segmenters), device=a.device, report=_say
    )
    _say(f"Canaries: {flags.write(a.root, found)}, {len(flags.flagged(found))} segmenters flagged")


@_command("audit")
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


@_command("render")
def _render(a) -> None:
    from umdbook import build as book
    from umdlib.viewer import pair as viewers

    if not Path("book", "_toc.yml").is_file():
        raise InputError("There is no folder book/ here. Run this in the project's checkout.")
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
