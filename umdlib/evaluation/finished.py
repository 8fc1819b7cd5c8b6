"""Finished cases of a run as one table: scores, what was given at each step, and the keys of each case."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from umdlib.cohort.manifest import Cohort
from umdlib.errors import InputError
from umdlib.evaluation import store
from umdlib.scores.table import check_scores

KEPT_KEYS = ("inputs_key", "prediction_key", "score_key")


def finished_subjects(cohort: Cohort, root: str | Path, segmenters: Sequence[str]) -> dict[str, list[str]]:
    """Subjects of each session of which a run has kept every image, whole, of every segmenter.

    Returns
    -------
    dict
        Session -> names, in the cohort's order; sessions without one are left out.
    """
    found: dict[str, list[str]] = {}
    for session in cohort.sessions():
        for subject in cohort.subjects(session):
            cases = [c for c in cohort.cases if c.subject == subject and c.session == session]
            if all(
                (store.case_folder(root, s, c) / "scores.parquet").is_file()
                for s in segmenters
                for c in cases
            ):
                found.setdefault(session, []).append(subject)
    return found


def finished_rows(
    cohort: Cohort, root: str | Path, segmenters: Sequence[str], subjects: Mapping[str, Iterable[str]]
) -> pd.DataFrame:
    """Score rows of some subjects with what was given and the keys of their cases.

    Parameters
    ----------
    cohort
        The cohort that was predicted.
    root
        Folder of the run.
    segmenters
        Whose.
    subjects
        Session -> names.

    Returns
    -------
    pandas.DataFrame
        Score table with the columns `given` (the newest part of the prompt at this step: a signed
        click in mm, or a record as JSON) and `KEPT_KEYS`; `attrs["stamp"]` is empty.

    Raises
    ------
    InputError
        A case of these was not kept whole.
    """
    tables = []
    for case in cohort.cases:
        if case.subject not in set(subjects.get(case.session, ())):
            continue
        for name in segmenters:
            kept = store.Kept(store.case_folder(root, name, case))
            if kept.damage or not kept.stamp:
                what = kept.damage or "it was not predicted"
                raise InputError(f"Case {case.name} of {name} in {root} is not whole: {what}.")
            rows = kept.table
            given = _given(json.loads((kept.folder / "prompts.json").read_text("utf-8")))
            where = rows[["structure", "prompt", "seed", "step"]].itertuples(index=False, name=None)
            rows["given"] = [given.get(key, "") for key in where]
            for key in KEPT_KEYS:
                rows[key] = kept.stamp.get(key, "")
            rows.attrs = {}
            tables.append(rows)
    if not tables:
        raise InputError(f"No finished case of these subjects in {root}.")
    return check_scores(pd.concat(tables, ignore_index=True))


def _given(records: Iterable[Mapping]) -> dict[tuple, str]:
    """(structure, protocol, seed, step) -> what was new in the prompt of that step."""
    found: dict[tuple, str] = {}
    steps: dict[tuple, int] = {}
    for record in records:
        key = (record["structure"], record["protocol"], record["seed"])
        step = steps.get(key, 0)
        steps[key] = step + 1
        found[*key, step] = _newest(record, step)
    return found


def _newest(record: Mapping, step: int) -> str:
    """``+x,y,z`` of a click inside (``-`` outside); other prompts as JSON without what is empty."""
    first_only_clicks = not any(
        record.get(k) for k in ("box", "boxes", "scribble", "lasso", "initial", "text", "cube")
    )
    if record["clicks"] and (step or (first_only_clicks and len(record["clicks"]) == 1)):
        click = record["clicks"][-1]
        return ("+" if click["positive"] else "-") + ",".join(repr(float(v)) for v in click["xyz_mm"])
    own = {k: v for k, v in record.items() if v and k not in ("structure", "protocol", "seed", "note")}
    return json.dumps(own, sort_keys=True) if own else ""
