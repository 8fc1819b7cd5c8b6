"""The released run: compute a large cohort in rounds of subjects, release it, compare a live part with it.

usage: released_run.py score PROFILE [--of K/N] [--rounds R]     all subjects, a few at a time; resumes
       released_run.py make PROFILE [--name NAME] [--out FOLDER] release what is finished
                                    --extend NAME (both)        subjects that release NAME lacks, added to it
       released_run.py domains PROFILE [--name NAME] [--out FOLDER] and, of a whole run, what was asked on other domains
       released_run.py check RUN NAME --out TABLE --people TSV   a live run beside the release

A round is two subjects a session through every segmenter: whenever the first command is stopped, the
rounds done so far can be released.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

# One thread a process, as the jobs of the graph have: sums are then the same to the bit.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "book")]

import pandas as pd  # noqa: E402 (after the threads)
import yaml  # noqa: E402

from umdbook import graph  # noqa: E402
from umdlib.errors import InputError  # noqa: E402
from umdlib.evaluation import finished  # noqa: E402
from umdlib.files import write_tsv  # noqa: E402
from umdlib.scores import release as releases  # noqa: E402
from umdlib.scores import table as scores  # noqa: E402

ROUND = 2  # subjects a session
PEOPLE = ("subject", "session", "modality", "age", "sex", "height_cm", "weight_kg", "lesions", "provenance")


def read_profile(name: str) -> dict:
    """Settings of a profile of this folder, or of a YAML file."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path(__file__).parent / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"Profile {path} does not exist.")
    return yaml.safe_load(path.read_text("utf-8"))


def _root(profile: dict) -> Path:
    """Folder of a profile's run; processes side by side have parts of it."""
    return Path("results") / graph.run_name(profile["run"])


def score(profile: dict, part: tuple[int, int], rounds: int | None, extend: str) -> None:
    """Make and score the subjects of a profile that a release lacks, `ROUND` a session at a time."""
    from umdlib import evaluation, synthetic
    from umdlib.cohort import read_cohort
    from umdlib.synthetic.cohort import subject_id

    root, number = _root(profile) / f"part-{part[0]}", int(profile["subjects"])
    sessions = ("petct", "petmr")
    held = releases.read_card(extend).subjects if extend else {}
    lacking = [
        i
        for i in range(number)
        if any(subject_id(i, s, number, sessions) not in held.get(s, ()) for s in sessions)
    ]
    mine = lacking[part[0] :: part[1]]
    so_far: list[str] = []
    for start in list(range(0, len(mine), ROUND))[:rounds]:
        names = [subject_id(i, s, number, sessions) for s in sessions for i in mine[start : start + ROUND]]
        so_far += names
        manifest = synthetic.synthesise(
            root / "cohort",
            subjects=number,
            seed=profile["seed"],
            settings=synthetic.Settings(float(profile["spacing_mm"])),
            only=so_far,
        )
        cohort = read_cohort(manifest)
        for plan, segmenters, session in graph.batches(profile, sessions):
            evaluation.score_cohort(
                cohort,
                segmenters,
                root,
                cases=[c for c in cohort.cases if c.session == session and c.subject in names],
                settings=evaluation.Settings(evaluation.parse_plans(plan)),
                report=lambda line: print(line, flush=True),
            )
        print(f"== round of {', '.join(names)} done", flush=True)


def segmenter_names(profile: dict) -> dict[str, str]:
    """Every segmenter of a profile by the name that its rows have -> its prompts, by session."""
    from umdlib import segmenters

    named = [*graph.names_of(str(profile["segmenters"])).values(), *graph.further_networks(profile)]
    return {segmenters.get(name).name: name for name in named}


def make(profile: dict, name: str, folder: str, extend: str) -> None:
    """Release the subjects that are finished, with those of the release `extend` where one is named."""
    from umdlib import segmenters
    from umdlib.cohort import read_cohort
    from umdlib.evaluation.store import FileHashes

    names = segmenter_names(profile)
    runs = [_root(profile), *sorted(_root(profile).glob("part-*"))]
    parts = {r: read_cohort(r / "cohort" / "manifest.tsv") for r in runs if (r / "cohort").is_dir()}
    if not parts:
        raise InputError(f"No cohort in {runs[0]}. `released_run.py score` makes one.")
    tables, people, subjects = [], [], {}
    for root, cohort in parts.items():
        done = finished.finished_subjects(cohort, root, list(names))
        if not done:
            continue
        tables.append(finished.finished_rows(cohort, root, list(names), done))
        own = cohort.table[[c for c in PEOPLE if c in cohort.table]]
        people.append(own[[r.subject in done.get(r.session, ()) for r in own.itertuples()]])
        for session, found in done.items():
            subjects[session] = sorted([*subjects.get(session, []), *found])
    if not tables:
        raise InputError(f"No subject of {runs[0]} is finished.")
    table = scores.check_scores(pd.concat(tables, ignore_index=True))
    hashes = FileHashes(runs[0] / "hashes.json")
    digest = hashlib.sha256("".join(c.hash(hashes) for c in parts.values()).encode()).hexdigest()
    hashes.keep()
    table.attrs["stamp"] = scores.provenance(
        cohort=name,
        cohort_hash=digest,
        segmenters={n: segmenters.open(given, "cpu").identity for n, given in names.items()},
        tolerances_mm=[1.0, 5.0],
        device="cpu",
    )
    plans = {
        f"{own}/{session}": plan
        for plan, given, session in graph.batches(profile, subjects)
        for own, one in names.items()
        if one in given
    }
    settings = {k: profile[k] for k in ("subjects", "seed", "spacing_mm")} | {"prompts": plans}
    card = _card(name, settings, subjects, names, table)
    people = pd.concat(people, ignore_index=True)
    if extend:
        card, table, people = releases.extended(releases.read_release(extend), (card, table, people))
    people = people.sort_values(["subject", "modality"], ignore_index=True)
    _release(card, table, people, folder)


def make_domains(profile: dict, name: str, folder: str) -> None:
    """Release what a whole run of a profile was asked on other domains, each run as ``NAME_<run>``."""
    from umdlib import segmenters
    from umdlib.cohort import read_cohort

    root, number = _root(profile), int(profile["domain_subjects"])
    cohort = read_cohort(root / "domains" / "cohort" / "manifest.tsv")
    for part, run in graph.domain_runs(profile).items():
        names = {segmenters.get(given).name: given for given in run.segmenters}
        wanted = _of_domain(cohort, run.domain)
        found = finished.finished_subjects(cohort, root / run.folder, list(names))
        done = {s: [n for n in found.get(s, ()) if n in wanted[s]] for s in wanted}
        if done != wanted or len(_of_domain(cohort, "same")["petct"]) != number:
            raise InputError(f"Run {root / run.folder} is not finished for {number} subjects of each domain.")
        table = finished.finished_rows(cohort, root / run.folder, list(names), done)
        whole = scores.read_scores(
            root / run.folder / "scores.parquet"
        )  # with the stamp of the code that scored
        table.attrs["stamp"] = whole.attrs["stamp"] | {"cohort": f"{name}_{part}"}
        settings = {"subjects": number, "seed": graph.DOMAIN_SEED, "spacing_mm": profile["spacing_mm"]}
        settings["prompts"] = {f"{own}/{s}": run.prompts for own in names for s in done}
        people = cohort.table[cohort.table["subject"].isin([n for some in done.values() for n in some])]
        people = people[[c for c in (*PEOPLE, "domain") if c in people]].reset_index(drop=True)
        _release(_card(f"{name}_{part}", settings, done, names, table), table, people, folder)


def _of_domain(cohort, domain: str) -> dict[str, list[str]]:
    """Session -> subjects of a domain; of all where it is empty."""
    return {
        s: [n for n in cohort.subjects(s) if not domain or n.rpartition("-")[0] == domain]
        for s in cohort.sessions()
    }


def _card(name: str, settings: dict, subjects: dict, names: dict, table: pd.DataFrame) -> releases.Release:
    """Card of a release that was computed here."""
    stamp = table.attrs["stamp"]
    return releases.Release(
        name,
        settings,
        dict(sorted(subjects.items())),
        list(names),
        releases.this_machine(),
        table.groupby("segmenter")["seconds"].sum().round(1).to_dict(),
        f"{stamp['umdlib']} {stamp['commit']}".rstrip(),
    )


def _release(card: releases.Release, table: pd.DataFrame, people: pd.DataFrame, folder: str) -> None:
    """Write a release and say what it holds."""
    card = releases.write_release(card, table, people, folder)
    counted = ", ".join(f"{len(found)} {session}" for session, found in card.subjects.items())
    print(
        f"Released: {card.name}, {counted} subjects, {len(card.segmenters)} segmenters, {card.rows} rows, "
        f"{card.sha256[:12]}…"
    )


def check(a) -> int:
    """Compare a live run with a release, and write the released rows and people in its place."""
    from umdlib import segmenters
    from umdlib.cohort import read_cohort

    cohort = read_cohort(a.manifest)
    names = [segmenters.get(n).name for n in a.segmenters.split(",") if n]
    subjects = _of_domain(cohort, a.domain)
    card, released, people = releases.read_release(a.name, a.folder)
    if a.shared:
        subjects = {s: [n for n in who if n in card.subjects.get(s, ())] for s, who in subjects.items()}
    here = releases.this_machine()
    exact = a.device == "cpu" and here == card.machine
    found = releases.Comparison(0, 0, "", exact)
    if any(subjects.values()) or not a.shared:
        live = finished.finished_rows(cohort, a.run, names, subjects)
        asked = released[released["structure"].isin([s.name for s in cohort.structures])]
        found = releases.compare_with_release(live, asked, exact=exact)
    if found.difference:
        raise InputError(
            f"This run does not give the numbers of the released run '{a.name}'. {found.difference} Where scores "
            "were meant to change, make a new release (workflow/released_run.py); `make book PROFILE=full` "
            "computes every subject."
        )
    rows = released[released["segmenter"].isin(names)].reset_index(drop=True)
    stamp = released.attrs["stamp"]
    about = {
        "name": a.name,
        "sha256": card.sha256,
        "live": subjects,
        "rows": found.rows,
        "equal": found.equal,
        "exact": exact,
    }
    identities = {k: v for k, v in stamp["segmenters"].items() if k in names}
    scores.write_scores(a.out, rows, stamp={**stamp, "segmenters": identities, "released": about})
    if a.people:
        write_tsv(a.people, people)
    how = "equal to the bit" if exact else f"{found.equal} equal to the bit (another kind of processor)"
    print(f"== released run {a.name}: {found.rows} rows computed again, {how}")
    return 0


def main(arguments: list[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="released_run.py", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="score | make | domains | check")
    p = commands.add_parser("score", help="make and score the subjects of a profile, round by round")
    p.add_argument("profile")
    p.add_argument(
        "--of", default="0/1", metavar="K/N", help="every Nth subject from the Kth: N processes side by side"
    )
    p.add_argument("--rounds", type=int, help="no more than these")
    p.add_argument("--extend", metavar="NAME", default="", help="only subjects that this released run lacks")
    p.set_defaults(call=lambda a: score(read_profile(a.profile), _part(a.of), a.rounds, a.extend))
    p = commands.add_parser("make", help="release what is finished")
    p.add_argument("profile")
    p.add_argument("--name", default="full")
    p.add_argument("--out", default=str(releases.FOLDER))
    p.add_argument("--extend", metavar="NAME", default="", help="with the subjects of this released run")
    p.set_defaults(call=lambda a: make(read_profile(a.profile), a.name, a.out, a.extend))
    p = commands.add_parser("domains", help="release what a whole run was asked on other domains")
    p.add_argument("profile")
    p.add_argument(
        "--name", default="full", help="of the run's release: domains are NAME_domains and NAME_curve"
    )
    p.add_argument("--out", default=str(releases.FOLDER))
    p.set_defaults(call=lambda a: make_domains(read_profile(a.profile), a.name, a.out))
    p = commands.add_parser("check", help="compare a live run with a release")
    p.add_argument("run", metavar="RUN", help="folder of the live run")
    p.add_argument("name", metavar="NAME", help="of the release")
    for option in ("--manifest", "--segmenters", "--out"):
        p.add_argument(option, required=True)
    p.add_argument("--people", default="")
    p.add_argument("--shared", action="store_true", help="compare the subjects that are released, if any")
    p.add_argument("--domain", default="", help="compare subjects of this domain alone")
    p.add_argument("--device", default="cpu")
    p.add_argument("--folder", default=str(releases.FOLDER))
    p.set_defaults(call=check)
    a = parser.parse_args(arguments)
    try:
        return a.call(a) or 0
    except InputError as error:
        print(f"umdlib: {error}", file=sys.stderr)
        return 2


def _part(text: str) -> tuple[int, int]:
    """``0/2`` as numbers."""
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal() and int(k) < int(n)):
        raise InputError(f"Part '{text}' is not K/N with K below N, e.g. 0/2.")
    return int(k), int(n)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
