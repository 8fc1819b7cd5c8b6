"""Gallery: single predictions picked by their score, and structures that lie in many parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from umdbook import page
from umdbook.names import title
from umdlib import labels, protocols
from umdlib.cohort.manifest import Cohort
from umdlib.errors import NothingToShow, unknown_name
from umdlib.evaluation import store as runs
from umdlib.scores.empty_rules import higher_is_better
from umdlib.statistics.pairs import means_over_structures
from umdlib.tables.markdown import count, markdown_table, numbered_table
from umdlib.tables.modality_table import metric_title
from umdlib.viewer.cases import read_viewer, scored_segmenters
from umdlib.viewer.pair import Pair


def chosen(table: pd.DataFrame, segmenter: str, *, session: str, metric: str = "dice") -> str:
    """The given segmenter, or the best of the session where none is given.

    InputError: if the run has no prediction of it in this session, with the nearest name; or if the metric is
    not a column of the table.
    """
    if metric not in table:
        raise unknown_name("metric of this run", metric, [c for c in table if table[c].dtype == float])
    known = scored_segmenters(table, session)
    page.checked(f"segmenter with predictions in {session}", segmenter, known)
    return segmenter or best_segmenter(table, session=session, metric=metric)


def typical_subject(table: pd.DataFrame, *, segmenter: str, session: str, metric: str = "dice") -> str:
    """The subject whose mean change from the structural image to PET is the median, the lower of two.

    Empty where no subject has a pair.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> typical_subject(score_table(n_subjects=3), segmenter="a", session="petct") in {
    ...     "sub-001", "sub-002", "sub-003"}
    True
    """
    pairs = largest_losses(table, segmenter=segmenter, session=session, metric=metric, n=len(table))
    cells = pairs.set_index(["subject", "structure"])[["difference"]]
    means = means_over_structures(cells, sort=True, jackknife=False)["difference"].sort_values(kind="stable")
    return str(means.index[(len(means) - 1) // 2]) if len(means) else ""


def success_and_failure(
    table: pd.DataFrame, *, segmenter: str, session: str, modality: str = "", metric: str = "dice"
) -> pd.DataFrame:
    """The best and the worst prediction of the structure on which a segmenter varies most.

    Picked by score among the first predictions (step 0, first seed), so that nobody chooses: the
    structure with the widest range between subjects, its best and its worst subject; ties go to
    the first in the table's order. On the structural image where no modality is named.

    Returns: Two score rows, best first; empty where there is no scored prediction.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> table = score_table(n_subjects=3, structures=["liver", "colon"])
    >>> picked = success_and_failure(table, segmenter="a", modality="CT", session="petct")
    >>> picked.structure.nunique(), bool(picked.dice.iloc[0] >= picked.dice.iloc[1])
    (1, True)
    """
    rows = _first_predictions(table, segmenter, session, metric)
    rows = rows[rows["modality"] == (modality or labels.session(session).structural)]
    if rows.empty:
        return rows
    by_structure = rows.groupby("structure", sort=False)[metric]
    widest = (by_structure.max() - by_structure.min()).idxmax()
    rows = rows[rows["structure"] == widest]
    ends = [rows[metric].idxmax(), rows[metric].idxmin()]
    return rows.loc[ends if higher_is_better(metric) else ends[::-1]]


def largest_losses(
    table: pd.DataFrame, *, segmenter: str, session: str, metric: str = "dice", n: int = 1
) -> pd.DataFrame:
    """The pairs that lose most from the structural image to PET, picked by score.

    Returns: `n` rows at most: subject, structure, structural, pet, difference (PET minus structural), the
    largest loss first.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> losses = largest_losses(score_table(n_subjects=3), segmenter="c", session="petct")
    >>> bool(losses.difference.iloc[0] < 0)
    True
    """
    rows = _first_predictions(table, segmenter, session, metric)
    wide = rows.pivot_table(index=["subject", "structure"], columns="modality", values=metric, sort=False)
    structural = labels.session(session).structural
    if structural not in wide or "PET" not in wide:
        return pd.DataFrame(columns=["subject", "structure", "structural", "pet", "difference"])
    wide = wide.rename(columns={structural: "structural", "PET": "pet"}).dropna()
    wide["difference"] = wide["pet"] - wide["structural"]
    wide.columns.name = None
    ascending = higher_is_better(metric)
    return wide.sort_values("difference", ascending=ascending, kind="stable").head(n).reset_index()


def readable(table: pd.DataFrame, cohort: Cohort, session: str) -> pd.DataFrame:
    """A table of picked cases with the names that a reader knows, for its columns and structures."""
    titles = {s.name: s.title for s in cohort.structures}
    shown = table.assign(structure=table["structure"].map(titles))
    structural = labels.session(session).structural
    return shown.rename(columns={"structural": structural, "pet": "PET", "dice": "DSC"})


def best_segmenter(table: pd.DataFrame, *, session: str, metric: str = "dice") -> str:
    """The segmenter with the best mean score on the structural images of a session.

    Those that take a click come first, whatever the others score: a subject's two images
    share their clicks, and a specialist is another network in each.

    InputError: if the table holds no score of that session.
    """
    rows = table[table["session"].eq(session) & table["step"].eq(0)]
    rows = rows[rows["modality"] == labels.session(session).structural]
    clicked = rows["prompt"].map(lambda name: protocols.kind_given(name) == "click").astype(bool)
    for part in (rows[clicked], rows):
        means = part.groupby("segmenter", sort=False)[metric].mean().dropna()
        if len(means):
            return str(means.idxmax() if higher_is_better(metric) else means.idxmin())
    raise NothingToShow(f"No {metric} of session {session} in the score table.")


def first_prompt(table: pd.DataFrame, segmenter: str) -> str:
    """Protocol of a segmenter's first predictions: ``centre`` if it has it, else its own first."""
    given = table.loc[table["segmenter"].eq(segmenter), "prompt"]
    return "centre" if given.eq("centre").any() or given.empty else str(given.iloc[0])


def foci_found(reference: np.ndarray, prediction: np.ndarray, *, smallest: int = 1) -> tuple[int, int]:
    """How many separate parts of a reference a prediction touches, and how many there are.

    `reference, prediction`: (I, J, K) boolean. Parts are connected through faces, edges and corners.
    `smallest`: voxels that a part must have to be counted.

    Examples
    --------
    >>> reference = np.array([[[1, 1, 0, 1, 0, 1]]], bool)
    >>> prediction = np.array([[[0, 1, 1, 0, 0, 1]]], bool)
    >>> foci_found(reference, prediction), foci_found(reference, prediction, smallest=2)
    ((2, 3), (1, 1))
    """
    parts, count = ndimage.label(reference, np.ones((3, 3, 3)))
    counted = np.bincount(parts.ravel(), minlength=count + 1) >= smallest
    counted[0] = False
    touched = np.zeros_like(counted)
    touched[np.unique(parts[prediction])] = True
    return int((touched & counted).sum()), int(counted.sum())


def foci_table(
    cohort: Cohort, table: pd.DataFrame, *, root: str | Path, segmenter: str, session: str
) -> pd.DataFrame:
    """Structures whose PET reference lies in separate parts, and how many parts one click finds.

    Parts below 0.5 ml are not counted: a few voxels cut off by the grid are not a lesion.

    `root`: folder of the run: the predictions after the first click are read from it. `segmenter, session`:
    which predictions.
    Returns: One row per subject and structure with more than one part: subject, structure, parts, found, and
    DSC. ``attrs["counted"]`` is the number of predictions looked at.
    """
    rows = _first_predictions(table, segmenter, session, "dice")
    rows = rows[rows["modality"] == "PET"]
    found = []
    for subject, scored in rows.groupby("subject", sort=False):
        case = cohort.case(str(subject), session, "PET")
        labelled = case.read_reference()
        smallest = int(np.ceil(500 / np.prod(labelled.spacing_mm)))
        masks = runs.read_prediction(root, segmenter, case, prompt=first_prompt(table, segmenter))
        for row in scored.itertuples():
            wanted = labelled.data == cohort.structure(row.structure).value
            touched, parts = foci_found(wanted, masks[row.structure], smallest=smallest)
            if parts > 1:
                found.append([subject, row.structure, parts, touched, row.dice])
    parts = pd.DataFrame(found, columns=["subject", "structure", "parts", "found", "dice"])
    parts.attrs["counted"] = len(rows)
    return parts


def foci_words(foci: pd.DataFrame, *, counted: int) -> str:
    """What `foci_table` says, as Markdown: a sentence, then one line per structure.

    `counted` is the number of predictions that were looked at: without one there is no conclusion.
    """
    if not counted:
        return "This segmenter has no scored prediction on PET in this session, so nothing was counted."
    if foci.empty:
        return (
            "Every structure of this cohort is one connected part in every subject, so this run "
            "cannot show it: a cohort with lesions can."
        )
    by = foci.groupby("structure", sort=False).agg({"subject": "nunique", "parts": "sum", "found": "sum"})
    shown = by.assign(share=(by["found"] / by["parts"]).map("{:.0%}".format)).reset_index()
    shown.columns = ["structure", "subjects", "parts", "found by one click", "share"]
    return (
        f"After one click each, the predictions touch {by['found'].sum()} of {by['parts'].sum()} parts "
        f"({len(foci)} references of {foci['subject'].nunique()} subjects).\n\n{markdown_table(shown)}"
    )


def gallery_words(cohort: Cohort, *, segmenter: str, session: str, prompt: str = "centre") -> str:
    """Which segmenter, session and prompt the gallery shows, as one Markdown sentence."""
    where = labels.session(session).title
    how = f"prompted by the protocol `{prompt}`"
    if prompt == "centre":
        how = "prompted with one click in the centre of each structure"
    elif protocols.kind_given(prompt) == "class":
        how = "asked for each structure by its name"
    return (
        f"Shown: {title(segmenter)}, on {count(len(cohort.subjects(session)), 'subject')} of {where}, {how}."
    )


def _first_predictions(table: pd.DataFrame, segmenter: str, session: str, metric: str) -> pd.DataFrame:
    """Scored predictions after the first prompt, before any correction."""
    keep = table["segmenter"].eq(segmenter) & table["session"].eq(session)
    keep &= table["prompt"].eq(first_prompt(table, segmenter))
    keep &= table["step"].eq(0) & table["seed"].eq(0)
    return table[keep & table[metric].notna()]


def picked_table(picked: pd.DataFrame, cohort: Cohort, *, segmenter: str, session: str, metric: str) -> str:
    """The best and the worst prediction, as a table."""
    shown = readable(picked[["subject", "modality", "structure", metric]], cohort, session)
    name, by = title(segmenter), metric_title(metric)
    caption = f"The best and the worst prediction of one structure, picked by {by}; {name}, first prompt."
    return numbered_table(shown, caption, "tab-extremes", dict.fromkeys(shown, ".3f"))


def loss_table(losses: pd.DataFrame, cohort: Cohort, *, segmenter: str, session: str, metric: str) -> str:
    """The largest losses, as a table."""
    shown = readable(losses, cohort, session)
    structural, by = labels.session(session).structural, metric_title(metric)
    caption = f"The three largest losses from {structural} to PET by {by}; {title(segmenter)}, first prompt."
    return numbered_table(shown, caption, "tab-losses", dict.fromkeys(shown, ".3f"))


@dataclass(frozen=True)
class Gallery:
    """Where the predictions of one segmenter lie: cohort, score table, folder of the run, session."""

    cohort: Cohort
    table: pd.DataFrame
    root: str
    segmenter: str
    session: str

    def viewer(self, subject: str, modalities: Sequence[str], **options) -> Pair:
        """Viewer of one or two images of a subject with this segmenter and the outline of the reference."""
        return read_viewer(
            [self.cohort.case(subject, self.session, m) for m in modalities],
            root=self.root,
            table=self.table,
            segmenters=[self.segmenter],
            titles={self.segmenter: title(self.segmenter)},
            outline="reference",
            **options,
        )

    def extreme(self, row: pd.Series, word: str) -> Pair:
        """The best or the worst prediction in the error colours."""
        organ = self.cohort.structure(row["structure"]).title.lower()
        caption = (
            f"The {word} prediction of the {organ} on {row['modality']}: {row['subject']}, DSC {row['dice']:.3f}; "
            f"{title(self.segmenter)}, first prompt. Agreement grey, missed blue, added orange."
        )
        return self._errors(row, [row["modality"]], f"gallery-{word}", caption)

    def organs(self, subject: str) -> Pair:
        """Every prediction on both images of a subject."""
        structural = labels.session(self.session).structural
        caption = (
            f"All predictions of the segmenter {title(self.segmenter)} on {structural} and on PET of {subject}, after "
            "the first prompt."
        )
        return self.viewer(
            subject, [structural, "PET"], overlay="prediction", name="gallery-organs", caption=caption
        )

    def loss(self, row: pd.Series, metric: str) -> Pair:
        """One structure of one subject on both images, in the error colours."""
        structural = labels.session(self.session).structural
        organ = self.cohort.structure(row["structure"]).title.lower()
        caption = (
            f"{row['subject']}, {organ}: {metric_title(metric)} {row['structural']:.3f} on {structural}, "
            f"{row['pet']:.3f} on PET; {title(self.segmenter)}, first prompt. Agreement grey, missed blue, added "
            "orange."
        )
        return self._errors(row, [structural, "PET"], "gallery-loss", caption)

    def _errors(self, row: pd.Series, modalities: Sequence[str], name: str, caption: str) -> Pair:
        """Viewer of the structure of a row in the error colours."""
        options = {"structure": row["structure"], "overlay": "difference", "name": name}
        return self.viewer(row["subject"], modalities, caption=caption, **options)
