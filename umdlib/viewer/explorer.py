"""Case explorer: every score of a run as points on a page, each of which opens its subject in the viewer."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import labels
from umdlib.cohort.manifest import Cohort
from umdlib.scores.empty_rules import EMPTY_RULES, higher_is_better, with_empty_rule
from umdlib.tables.interactive import embed_json
from umdlib.viewer import web_volumes
from umdlib.viewer.cases import read_viewer, shown_prompt
from umdlib.viewer.pair import ASSETS

_KEYS = ("subject", "session", "modality", "structure", "segmenter", "prompt", "step", "seed", "status")
_METRICS = {"dice": "DSC", "hausdorff_95": "HD95 (mm)", "assd": "ASSD (mm)"}


@dataclass(frozen=True)
class CaseExplorer:
    """The explorer of one run, as a figure of a page; it shows itself in a notebook.

    Attributes
    ----------
    cohort
        Cases of the run.
    table
        Score table.
    root
        Folder of the run.
    titles
        Segmenter name to the name shown.
    spacing_mm
        Spacing of the viewers' volumes.
    """

    cohort: Cohort
    table: pd.DataFrame
    root: str | Path
    titles: Mapping[str, str] = field(default_factory=dict)
    spacing_mm: float = 4.0

    def write(self, assets: str | Path, *, root: str = "../umd/") -> str:
        """Write scores, cases and volumes below `assets`, and return the HTML of the explorer.

        Parameters
        ----------
        assets
            Folder that the site publishes as `root`.
        root
            Address of `assets` as seen from the page.
        """
        assets = Path(assets)
        config = {
            "scores": web_volumes.write_record(assets, score_columns(self.table)),
            "cases": {},
            "titles": {
                "segmenter": {n: self.titles.get(n, n) for n in self.table["segmenter"].unique()},
                "structure": {s.name: s.title for s in self.cohort.structures},
                "session": {s: labels.session(s).title for s in self.cohort.sessions()},
            },
            "structural": {s: labels.session(s).structural for s in self.cohort.sessions()},
            "colours": {m: labels.modality(m).colour for m in ("CT", "MR", "PET")},
            "metrics": _metric_titles(self.table),
            "lower_is_better": [m for m in _metric_titles(self.table) if not higher_is_better(m)],
            "rules": dict(EMPTY_RULES),
            "shown": {n: shown_prompt(rows) for n, rows in self.table.groupby("segmenter", sort=False)},
        }
        for pair in self.cohort.pairs():
            name = f"{pair[0].subject} {pair[0].session}"
            config["cases"][name] = web_volumes.write_record(assets, self._record(pair, assets, root))
        data = embed_json(config)
        script = (ASSETS / "case-explorer.js").read_text("utf-8")
        return (
            f'<div class="umd-cases" data-umd-root="{html.escape(root)}">'
            f'<script type="application/json">{data}</script>'
            f"<noscript>The explorer needs JavaScript; the same rows are in the score table.</noscript></div>"
            f"<script>{script}</script>"
        )

    def _record(self, pair: Sequence, assets: Path, root: str) -> dict:
        """What the page needs to show one examination in the viewer."""
        rows = self.table[self.table["session"] == pair[0].session]
        done = rows[~rows["status"].isin(["failed", "unavailable"])]
        viewer = read_viewer(
            pair,
            root=self.root,
            table=self.table,
            segmenters=list(done["segmenter"].unique()),
            titles=self.titles,
            overlay="difference",
            outline="both",
            structure=largest_loss(rows, pair[0].subject, pair[0].modality),
            spacing_mm=self.spacing_mm,
            name=f"case-{pair[0].subject}-{pair[0].session}",
        )
        return {"figure": viewer.write(assets, root=root)}

    def _repr_html_(self) -> str:
        assets = os.environ.get("UMD_STATIC")
        if assets:
            return self.write(assets)
        return (
            "<p>The case explorer is a page of the book (<code>make book</code>). In JupyterLab, "
            "<code>explore.ipynb</code> opens any subject of the run.</p>"
        )


def largest_loss(rows: pd.DataFrame, subject: str, structural: str) -> str:
    """Structure of which a segmenter loses most DSC on PET in one subject; ``""`` where none has both scores.

    A viewer of the explorer starts with it, and holds its fine crop where the images are finer than the page's grid.

    Examples
    --------
    >>> from umdlib.scores.simulated import score_table
    >>> table = score_table(n_subjects=1, structures=["liver", "colon"])
    >>> table.loc[table.structure.eq("colon") & table.modality.eq("PET"), "dice"] = 0.0
    >>> largest_loss(table, "sub-001", "CT"), largest_loss(table, "sub-009", "CT")
    ('colon', '')
    """
    own = rows[rows["subject"].eq(subject) & rows["step"].eq(0)]
    keys = ["structure", "segmenter", "prompt", "seed"]
    wide = own.pivot_table(index=keys, columns="modality", values="dice", sort=False)
    if not {structural, "PET"} <= set(wide):
        return ""
    loss = (wide[structural] - wide["PET"]).dropna()
    return loss.idxmax()[0] if len(loss) else ""


def _metric_titles(table: pd.DataFrame) -> dict[str, str]:
    """Metrics of a score table that the explorer offers: column to title.

    Examples
    --------
    >>> _metric_titles(pd.DataFrame(columns=["dice", "surface_dice_1mm", "rvd"]))
    {'dice': 'DSC', 'surface_dice_1mm': 'NSD, 1 mm'}
    """
    found = {}
    for column in table:
        if column in _METRICS:
            found[column] = _METRICS[column]
        elif str(column).startswith("surface_dice_"):
            found[column] = f"NSD, {str(column).removeprefix('surface_dice_').replace('mm', ' mm')}"
    return found


def score_columns(table: pd.DataFrame) -> dict:
    """Score rows as columns: keys as numbers of a list of names, metrics in 1/10000.

    Returns
    -------
    dict
        ``names`` (key to list), ``codes`` (key to one number per row), ``values`` (metric to one
        integer per row, None where undefined) and ``filled`` (metric to rule to {row: integer},
        where an empty rule gives an undefined score a value). Rows of unavailable segmenters are
        left out.
    """
    rows = table[table["status"] != "unavailable"].reset_index(drop=True)
    names, codes = {}, {}
    for key in _KEYS:
        values, known = pd.factorize(rows[key])
        codes[key] = [int(v) for v in values]
        names[key] = [v.item() if isinstance(v, np.generic) else v for v in known]
    values, filled = {}, {}
    for metric in _metric_titles(rows):
        plain = with_empty_rule(rows, metric, "drop")
        values[metric] = [None if np.isnan(v) else round(1e4 * v) for v in plain]
        for rule in EMPTY_RULES:
            ruled = with_empty_rule(rows, metric, rule)
            changed = ruled[plain.isna() & ruled.notna()]
            if len(changed):
                filled.setdefault(metric, {})[rule] = {int(k): round(1e4 * v) for k, v in changed.items()}
    return {"names": names, "codes": codes, "values": values, "filled": filled}
