"""Chapters on the papers' own numbers: tables, numbers and small tables of their text."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd
from numpy.random import default_rng

from umdbook.page import Text, keep
from umdlib import published
from umdlib.published import acquisition, bounds, checks, diagrams, explorer, figures, markup, pairing
from umdlib.published.claims import VERDICTS
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.significance import CERTAIN
from umdlib.published.tolerance import dice_at_nsd
from umdlib.tables import interactive
from umdlib.tables.markdown import number

__all__ = ["diagrams", "figures", "interactive", "markup"]

# Volume in ml of the organs of SegAnyPET's supplementary tables 1 and 2: ICRP 89 (2002), reference man,
# masses over a density of 1.05 g/ml; kidneys 310 g in all; heart with its blood 840 g.
VOLUMES_ML = {"liver": 1714, "kidney_left": 148, "kidney_right": 148, "heart": 800, "spleen": 143}


def show_table(key: str, frame: pd.DataFrame, *, text: bool = False) -> None:
    """Keep a table of texts under a key."""
    keep(key, markup.pipe_table(frame, text=text))


def show_numbers(**values: object) -> None:
    """Keep values under their names, and a float as ``NAME_signed`` too."""
    for key, value in values.items():
        keep(key, value)
        if isinstance(value, float):
            keep(f"{key}_signed", number(value, sign=True))


def show_findings(found: pd.DataFrame, grade: str) -> None:
    """Keep the findings of one grade as ``tab_GRADE``."""
    show_table(f"tab_{grade}", markup.findings_table(found[found["grade"] == grade]), text=True)


def show_claims(claims: pd.DataFrame) -> None:
    """Keep a table and a number per verdict; a verdict that no sentence has is an empty table."""
    for verdict in VERDICTS:
        own = claims[claims["verdict"] == verdict]
        key = verdict.replace(" ", "_")
        show_numbers(**{f"n_{key}": len(own)})
        show_table(f"tab_{key}", markup.claims_table(own), text=True)
    show_numbers(n_claims=len(claims))


def closest_pairs(table: pd.DataFrame, segmenter: str, *, alpha: float) -> pd.DataFrame:
    """The four organs in which a system differs least between the modalities, with both SDs."""
    rows = published.modality_ranges(table, alpha=alpha).query("segmenter == @segmenter")
    rows = rows[rows["structure"] != "average"]
    rows = rows.loc[rows["difference"].abs().sort_values().index[:4]]
    sds = published.cells(table).query("segmenter == @segmenter")
    sds = sds.pivot(index="structure", columns="modality", values="sd")
    a, b = (rows["structure"].map(sds[m]) for m in ("CT", "PET"))
    return rows.assign(label=rows["row"], sd_a=a, sd_b=b, n=rows["n_pairs"])


def certain_cells(tables: Sequence[pd.DataFrame], *, alpha: float) -> dict[str, int]:
    """Organ cells, and those in which the modalities differ for every correlation."""
    organs = pd.concat([published.modality_ranges(t, alpha=alpha) for t in tables])
    organs = organs[organs["structure"] != "average"]
    return {"n_certain": int((organs["verdict"] == CERTAIN).sum()), "n_organ_cells": len(organs)}


def audit_numbers(found: pd.DataFrame) -> dict[str, int | str]:
    """Numbers of the chapter on the audit."""
    bad = found[found["grade"] != "passed"]
    across = found[found["check"].isin(["mean in quartiles", "sd in quartiles"])]
    order = found[found["check"] == "reversed order"]
    printed = bad[bad["check"] == "sd bound"]["printed"].iloc[0].split("(")[1].rstrip(")")
    counts = bad[bad["check"] == "counts at one"]
    fullest = re.search(r"needs (.*) of them", bad[bad["check"] == "fullest subject"]["arithmetic"].iloc[0])
    segvol = published.cells(published.read("seganypet_s4"))
    segvol = segvol.query("segmenter == 'segvol' and cohort == 'UMD-PETCT'")
    numbers = {f"n_{grade}": int((found["grade"] == grade).sum()) for grade in published.GRADES}
    return numbers | {
        "n_tests": len(found),
        "n_intact": sum(published.is_intact(name) for name in published.SOURCES),
        "n_average": int((bad["check"] == "average over others").sum()),
        "n_counts": len(counts),
        "n_one_sd": _cells_of_one_sd(),
        "n_across": len(across),
        "n_across_passed": int((across["grade"] == "passed").sum()),
        "n_order": len(order),
        "n_reversed": int((order["grade"] == "note").sum()),
        "fullest": fullest[1] if fullest else "",
        "sd_printed": printed,
        "slip": _likely_slip(printed),
        "n_segvol_zero": int((segvol["median"] == 0).sum()),
    }


def _cells_of_one_sd() -> int:
    """Cells that subjects at 1 explain with the SD that divides by n, and not with n - 1."""
    sizes = {name: published.n_scans(name) for name in ("UMD-PETCT", "UMD-PETMR")}
    wide = pd.concat([checks.sized(published.read(f"umd_table{k}"), sizes) for k in (1, 2)])
    found = [{ddof for _, ddof in checks.counts_of(c)} for c in wide.to_dict("records")]
    return sum(f == {0} for f in found)


def _likely_slip(printed: str) -> str:
    """The exchange of two neighbouring digits that comes nearest to the SDs of the other averages."""
    sds = published.cells(published.read("umd_table1")).query("structure == 'average'")["sd"]
    digits = printed.split(".")[1]
    swaps = [digits[:i] + b + a + digits[i + 2 :] for i, (a, b) in enumerate(pairwise(digits))]
    return min((f"0.{s}" for s in swaps), key=lambda s: abs(float(s) - sds.median()))


def segvol_correlations() -> dict[str, float]:
    """Correlation of SegVol's structures within a subject, by session and modality."""
    table = pd.concat(published.cells(published.read(t)) for t in ("umd_table1", "umd_table2"))
    out = {}
    for key, own in table[table["segmenter"] == "segvol"].groupby(["session", "modality"]):
        average, sd = own["structure"] == "average", own["sd"]
        out[f"rho_{'_'.join(key)}"] = bounds.implied_correlation(sd[~average].to_numpy(), sd[average].iloc[0])
    return out


def simulate(
    gap: float, confounding: float, *, seed: int, **sizes
) -> tuple[pd.DataFrame, pairing.World, pd.DataFrame]:
    """Estimates of simulated benchmarks of three designs, the truth behind them, and how wrong each design is."""
    world = pairing.World(gap=gap, confounding=confounding)
    found = pairing.simulate_benchmarks(world, default_rng(seed), **sizes)
    return found, world, pairing.design_errors(found, world).set_index("design")


def forms_table(forms: Sequence[str]) -> Text:
    """What the audit reads in each form of a cell."""
    rows = []
    for raw in forms:
        cell = published.parse_cell(raw)
        numbers = ", ".join(f"{name} {value}" for name, value in cell.numbers) or "no number"
        rows.append({"Printed": f"`{raw}`", "Read as": numbers + (", per cent" if cell.per_cent else "")})
    return Text(markup.pipe_table(pd.DataFrame(rows), text=True))


def image_numbers() -> dict[str, object]:
    """Numbers of the chapter on the images."""
    same, stated = acquisition.agreement()
    brain = acquisition.brain_row()
    authors = acquisition.authors_in_common()
    return {
        "n_same": same,
        "n_stated": stated,
        "n_authors": len(authors),
        "authors": ", ".join(authors),
        "months": acquisition.months_public_before(),
        "n_older": int(acquisition.systems_older_than_the_record().sum()),
        "masks": f"{brain['masks']:,.0f}",
        "best": float(brain["best"]),
        "without": f"{brain['without']:.0f}",
    }


def specialists() -> dict[str, int | float]:
    """In how many organs SegAnyPET is above the best task-specific system, and how NSD compares with DSC."""
    out = {}
    s1, s2 = (published.cells(published.read(name)) for name in ("seganypet_s1", "seganypet_s2"))
    medians = s1.pivot(index="structure", columns=["segmenter", "prompt"], values="median")
    best = medians.xs("none", axis=1, level="prompt").max(axis=1)
    for points in (1, 3, 5):
        own = medians["seganypet", f"{points} point{'s' * (points > 1)}"]
        out[f"n_above_{points}"] = int((own > best).sum())
    ratio = s2["median"].to_numpy() / s1["median"].to_numpy()
    return out | {"n_organs_s1": len(best), "nsd_low": 100 * ratio.min(), "nsd_high": 100 * ratio.max()}


def tolerance_table(voxel_mm: float) -> pd.DataFrame:
    """nnU-Net's NSD of each organ, and the DSC that it would mean at 1 mm and at one voxel."""
    s1, s2 = (
        published.cells(published.read(n)).query("segmenter == 'nnunet'")
        for n in ("seganypet_s1", "seganypet_s2")
    )
    dsc = s1.set_index("structure")["median"]
    table = pd.DataFrame({"Organ": s2["column"], "NSD, printed": s2["median"].map("{:.3f}".format)})
    table["DSC, printed"] = s2["structure"].map(dsc).map("{:.3f}".format)
    for name, tau in (("τ = 1 mm", 1.0), (f"τ = 1 voxel ({voxel_mm:g} mm)", voxel_mm)):
        balls = zip(s2["median"], s2["structure"].map(VOLUMES_ML), strict=True)
        table[f"DSC of a ball, {name}"] = [f"{dice_at_nsd(nsd, tau, volume):.3f}" for nsd, volume in balls]
    return table


def balls_below(voxel_mm: float) -> dict[str, int]:
    """In how many organs the ball of `tolerance_table` is below the printed DSC, in either reading."""
    table = tolerance_table(voxel_mm)
    balls = table.iloc[:, 3:].astype(float).lt(table["DSC, printed"].astype(float), axis=0).sum()
    return {"n_below_mm": int(balls.iloc[0]), "n_below_voxel": int(balls.iloc[1])}


def reference_table() -> pd.DataFrame:
    """UMD's table 3 as shares of nnU-Net's average on the same images."""
    table = published.cells(published.read("umd_table3")).query("cohort != 'reported'")
    wide = table.pivot(index="segmenter", columns="column", values="value")
    wide = wide.loc[table["segmenter"].drop_duplicates(), table["column"].drop_duplicates()]
    shares = wide / wide.loc["nnunet"]
    shown = shares.map("{:.0%}".format)
    shown.loc["nnunet"] = wide.loc["nnunet"].map("{:.3f}".format)
    shown.index = [MODELS[m] for m in shown.index]
    return shown.rename_axis("System").reset_index()


def reference_changes() -> dict[str, float]:
    """Change of nnU-Net's average from the structural image to PET, and of nnInteractive's."""
    table = published.cells(published.read("umd_table3")).set_index(["segmenter", "column"])["value"]
    out = {}
    for system in ("nnunet", "nninteractive"):
        for session, structural in (("PET/CT", "CT"), ("PET/MRI", "MRI")):
            change = table[system, f"UMD {session} PET"] - table[system, f"UMD {session} {structural}"]
            out[f"{system}_{structural.lower()}"] = float(change)
    return out


def facts_table(group: str) -> pd.DataFrame:
    """Facts of the three sources side by side, each with its place."""
    table = acquisition.side_by_side(group)
    shown = pd.DataFrame({"Fact": table["what"] + table["unit"].map(lambda u: f" ({u})" if u else "")})
    for source in acquisition.SETS:
        shown[source] = table[source].replace("", "not stated")
    return shown if group == "publication" else shown.assign(Verdict=table["verdict"].to_numpy())


def sources_text() -> str:
    """Where each source states its facts, one line per source."""
    facts = acquisition.read_acquisition()
    lines = []
    for source, own in facts.groupby("source", sort=False):
        places = own.groupby("where", sort=False)["what"].agg("; ".join)
        listed = ". ".join(f"{where}: {what}" for where, what in places.items())
        lines.append(f"* **{source}**: {listed}.")
    return "\n".join(lines)


def cohort_table() -> pd.DataFrame:
    """The cohort table that UMD lacks: what is known of its subjects, and of the public set's."""
    n, unknown = acquisition.side_by_side().loc["n"], "not reported"
    rows = [["Number", n["UMD"], str(published.n_scans("UMD-PETMR")), n["PETWB-REP"]]]
    for row in acquisition.side_by_side("cohort").to_dict("records"):
        label = row["what"] + (f" ({row['unit']})" if row["unit"] else "")
        rows.append([label, row["UMD"] or unknown, unknown, row["PETWB-REP"]])
    return pd.DataFrame(rows, columns=["Of the subjects", "UMD, PET/CT", "UMD, PET/MR", "PETWB-REP"])


def write_example(folder: str = "") -> Path:
    """A Markdown table of folds with a slip in it, for the chapter that audits it."""
    path = Path(folder or tempfile.mkdtemp()) / "folds.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_EXAMPLE, encoding="utf-8")
    return path


# Made for the page: the SD of the Dice of fold 2 is too large for any 16 scores; "All" pools the 80 cases.
_EXAMPLE = """\
Lesions, mean ± SD over the cases of a fold.

| Fold | n | Dice | HD95 (mm) | Time (s) |
|---|---|---|---|---|
| 1 | 16 | 0.8488 ± 0.0824 | 8.33 ± 7.17 | 3.21 ± 0.41 |
| 2 | 16 | 0.8833 ± 0.7597 | 6.12 ± 5.02 | 3.24 ± 0.44 |
| 3 | 48 | 0.8712 ± 0.0911 | 7.05 ± 6.10 | 3.11 ± 0.52 |
| All | 80 | 0.8691 ± 0.0902 | 7.12 ± 6.11 | 3.16 ± 0.48 |
"""


def training_numbers(training: pd.DataFrame) -> dict[str, object]:
    """PET's share of SAT's training volumes in per cent, and SegVol's volumes."""
    known = training[training["modality"] != "unknown"]
    sat = known[known["system"] == "SAT"]
    segvol = known[known["system"] == "SegVol"]["volumes"].sum()
    pet = sat[sat["modality"] == "PET"]["volumes"].sum()
    return {"sat_pet": 100 * pet / max(sat["volumes"].sum(), 1), "segvol": f"{segvol:,.0f}"}


def design_numbers(errors: pd.DataFrame, world: pairing.World) -> dict[str, float]:
    """Errors of each simulated design, and the spreads of the simulation."""
    numbers = {f"{d} {n}".replace(" ", "_"): float(v) for d, row in errors.iterrows() for n, v in row.items()}
    spreads = ("gap", "subject_sd", "structure_sd", "residual_sd")
    return numbers | {name: getattr(world, name) for name in spreads}


def design_table(errors: pd.DataFrame, world: pairing.World, **sizes: int) -> pd.DataFrame:
    """Errors of each simulated design for a reader."""
    return pd.DataFrame(
        {
            "Design": [pairing.DESIGNS[d] for d in errors.index],
            "Bias": [number(b, sign=True) for b in errors["bias"]],
            "SD of the estimate": errors["sd"].map("{:.3f}".format),
            "SD expected": [f"{pairing.expected_sd(world, d, **sizes):.3f}" for d in errors.index],
            "Wrong by more than half the gap": errors["off_by_half"].map("{:.1%}".format),
        }
    )


def selection_numbers(
    scores: pd.DataFrame, *, by: str, a: tuple[str, str], b: tuple[str, str]
) -> dict[str, object]:
    """How two selections of the explorer compare: lines, lines in which the second is higher, the largest."""
    first, second = (explorer.pick(scores, by=by, condition=c, chosen=k)["v"] for c, k in (a, b))
    difference = (second - first).dropna()
    where = difference.abs().idxmax()
    return {
        "n_lines": len(difference),
        "n_higher": int((difference > 0).sum()),
        "largest": float(difference[where]),
        "largest_where": STRUCTURES.get(where) or MODELS.get(where, where),
    }
