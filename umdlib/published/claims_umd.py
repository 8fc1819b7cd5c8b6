"""Claims of the UMD paper (arXiv 2602.07643)."""

from __future__ import annotations

import pandas as pd

from umdlib.labels import SESSIONS
from umdlib.published.claims import Claim, Outcome, Tables, cannot, decide, scores
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.printed import fact, n_scans, read_training
from umdlib.published.significance import p_range

POINT_MODELS = ["sam_med3d_turbo", "nninteractive"]
SEMANTIC_MODELS = ["vista3d", "sat_pro"]
SYSTEMS = [*POINT_MODELS, "segvol", *SEMANTIC_MODELS]
# Organs of high FDG uptake 60 min after injection: brain, myocardium, and the urinary tract.
HIGH_UPTAKE = ["brain", "heart", "kidney_left", "kidney_right", "urinary_bladder"]
MARGIN = 0.02  # DSC; smaller differences are not called better
CONDITIONS = [(s.name, m) for s in SESSIONS.values() for m in (s.structural, "PET")]


def _gap(tables: Tables, session: str) -> pd.DataFrame:
    """PET minus structural, structures as rows."""
    return scores(tables, session, "PET") - scores(tables, session, SESSIONS[session].structural)


def _cells_below(tables: Tables, models: list[str], limit: float) -> tuple[int, int]:
    found = [scores(tables, s, m).drop("average")[models] for s, m in CONDITIONS]
    return sum(int((f < limit).sum().sum()) for f in found), sum(f.size for f in found)


def _n_scans(tables: Tables) -> Outcome:
    ct, mr = n_scans("UMD-PETCT"), n_scans("UMD-PETMR")
    printed = fact("umd_petct"), fact("umd_petmr")
    return decide((ct, mr) == printed, f"SegAnyPET Table 1 gives {ct} and {mr}.")


def _annotations(tables: Tables) -> Outcome:
    total = (fact("umd_petct") + fact("umd_petmr")) * fact("umd_organs")
    text = f"954 scans × 13 organs = {total:,.0f}."
    return decide(round(total, -3) == fact("umd_masks"), text)


def _organs(tables: Tables) -> Outcome:
    rows = len(scores(tables, "petct", "CT").drop("average"))
    return decide(rows == fact("umd_organs"), f"Table 1 has {rows} organs.")


def _vista_liver(tables: Tables) -> Outcome:
    table = scores(tables, "petct", "CT").drop("average")
    own, best = table.loc["liver", "vista3d"], table.to_numpy().max()
    text = f"{own:.4f}; the highest of the {table.size} CT cells of Table 1 is {best:.4f}."
    return decide(own == best, text)


def _vista_outlier(tables: Tables) -> Outcome:
    own = [scores(tables, s, m).drop("average")["vista3d"] for s, m in CONDITIONS]
    rest = pd.concat([own[0].drop("liver"), *own[1:]])
    text = f"The other {len(rest)} VISTA3D cells of Tables 1 and 2 are at most {rest.max():.4f}."
    return decide(rest.max() < 0.1, text)


def _near_zero(tables: Tables) -> Outcome:
    low, total = _cells_below(tables, SEMANTIC_MODELS, 0.01)
    return decide(low > total / 2, f"{low} of {total} cells of VISTA3D and SAT are below 0.01.")


def _sat_collapse(tables: Tables) -> Outcome:
    ct, pet = (scores(tables, "petct", m)["sat_pro"] for m in ("CT", "PET"))
    colon = scores(tables, "petct", "CT").loc["colon"]
    text = f"Averages {ct['average']:.4f} (CT) and {pet['average']:.4f} (PET)."
    if colon.idxmax() == "sat_pro":
        text += f" Its colon on CT, {colon.max():.4f}, is the best of the five systems there."
    return decide(max(ct["average"], pet["average"]) < 0.05, text)


def _points_above(tables: Tables) -> Outcome:
    averages = [scores(tables, s, m).loc["average"] for s, m in CONDITIONS]
    above = sum(a[POINT_MODELS].min() > a.drop(POINT_MODELS).max() for a in averages)
    text = f"The averages of both are above the other three in {above} of 4 conditions."
    return decide(above == 4, text)


def _brain_lung(tables: Tables) -> Outcome:
    found = pd.concat(
        scores(tables, s.name, s.structural).loc[["brain", "lung"], POINT_MODELS] for s in SESSIONS.values()
    ).to_numpy()
    text = f"The {found.size} structural cells are {found.min():.4f} to {found.max():.4f}."
    return decide(found.min() >= 0.4, text)


def _thin_organs(tables: Tables) -> Outcome:
    organs, below = ["aorta", "esophagus", "pancreas"], 0
    for s, m in CONDITIONS:
        table = scores(tables, s, m)[POINT_MODELS]
        below += int((table.loc[organs] < table.loc["average"]).sum().sum())
    best = max(scores(tables, s, m).loc[organs, POINT_MODELS].max().max() for s, m in CONDITIONS)
    text = f"{below} of 24 cells are below the system's own average; the best is {best:.4f}."
    return decide(below == 24, text)


def _bladder(tables: Tables) -> Outcome:
    gap = _gap(tables, "petct").loc["urinary_bladder", [*POINT_MODELS, "segvol"]]
    text = ", ".join(f"{MODELS[m]} {g:+.4f}" for m, g in gap.items())
    return decide(bool((gap > 0).all()), f"PET minus CT: {text}.")


def _exceptions(tables: Tables, session: str) -> Outcome:
    """Is PET better by `MARGIN` only where uptake is high, certain for every ρ at p < 0.01."""
    name = {"petct": "umd_table1", "petmr": "umd_table2"}[session]
    structural = SESSIONS[session].structural
    found = []
    for (model, organ), pair in tables[name].groupby(["segmenter", "structure"], sort=False):
        if organ in ("average", *HIGH_UPTAKE):
            continue
        of = pair.set_index("modality")
        a, b = of.loc[structural], of.loc["PET"]
        p = p_range(
            (a["mean"], b["mean"]),
            (a["sd"], b["sd"]),
            n_scans(a["cohort"]),
            alpha=0.01,
            half_unit=a["half_unit"],
        )
        if p.difference >= MARGIN and p.p_high < 0.01:
            found.append((p.difference, f"{MODELS[model]} {STRUCTURES[organ].lower()}"))
    found.sort(reverse=True)
    text = "; ".join(f"{who} {d:+.4f}" for d, who in found[:6]) or "none"
    return decide(
        not found, f"{len(found)} cells outside brain, heart, kidneys and bladder are better on PET: {text}."
    )


def _decline(tables: Tables) -> Outcome:
    gap = _gap(tables, "petmr").loc["average", POINT_MODELS]
    text = ", ".join(f"{MODELS[m]} {g:+.4f}" for m, g in gap.items())
    return decide(bool((gap <= -MARGIN).all()), f"PET minus MR: {text}.")


def _bias(tables: Tables) -> Outcome:
    gaps = pd.concat({s: _gap(tables, s).loc["average"] for s in SESSIONS})
    up = gaps[gaps > 0]
    text = ", ".join(f"{MODELS[m]} on {SESSIONS[s].title} {g:+.4f}" for (s, m), g in up.items())
    return decide(up.empty, f"{(gaps < 0).sum()} of {len(gaps)} averages fall; rising: {text}.")


def _similar(tables: Tables) -> Outcome:
    a, b = (_gap(tables, s).loc["average", SYSTEMS] for s in SESSIONS)
    same = (a > 0) == (b > 0)
    text = ", ".join(f"{MODELS[m]} {a[m]:+.4f} and {b[m]:+.4f}" for m in SYSTEMS)
    return decide(
        bool(same.all()),
        f"The average difference has the same sign in both sessions for {same.sum()} of 5: {text}.",
    )


def _mr_above_ct(tables: Tables) -> Outcome:
    ct, mr = scores(tables, "petct", "CT"), scores(tables, "petmr", "MR")
    gap = mr.loc["average", POINT_MODELS] - ct.loc["average", POINT_MODELS]
    text = ", ".join(f"{MODELS[m]} {g:+.4f}" for m, g in gap.items())
    return decide(bool((gap > 0).all()), f"MR minus CT: {text} (other subjects).")


def _liver_brain(tables: Tables) -> Outcome:
    ct, mr = scores(tables, "petct", "CT"), scores(tables, "petmr", "MR")
    gap = (mr - ct).loc[["liver", "brain"], POINT_MODELS]
    text = ", ".join(
        f"{MODELS[m]} {STRUCTURES[o].lower()} {gap.loc[o, m]:+.4f}" for o in gap.index for m in POINT_MODELS
    )
    return decide(gap.to_numpy().min() > 0, f"MR minus CT: {text}.")


def _semantic_mr(tables: Tables) -> Outcome:
    found = pd.concat([scores(tables, "petmr", m).loc["average", SEMANTIC_MODELS] for m in ("MR", "PET")])
    return decide(found.max() < 0.05, f"The four averages are at most {found.max():.4f}.")


def _reported_gap(tables: Tables) -> Outcome:
    t = tables["umd_table3"]
    reported = t.query("column == 'Reported CT'").set_index("segmenter")["value"].dropna()
    reported = reported.where(reported <= 1, reported / 100)
    own = t.query("column == 'UMD PET/CT CT'").set_index("segmenter")["value"]
    gap = reported - own[reported.index]
    text = ", ".join(f"{MODELS[m]} {reported[m]:.3f} to {own[m]:.3f}" for m in reported.index)
    return decide(
        (gap > 0.1).sum() > len(gap) / 2,
        f"On CT: {text} (SAT read as per cent; the test data differ, as the table says).",
    )


def _most_general(tables: Tables) -> Outcome:
    kept = {}
    for model in POINT_MODELS:
        for s in SESSIONS.values():
            a = scores(tables, s.name, s.structural).loc["average", model]
            kept[model, s.title] = scores(tables, s.name, "PET").loc["average", model] / a
    text = ", ".join(f"{MODELS[m]} {v:.0%} on {s}" for (m, s), v in kept.items())
    better = all(kept["nninteractive", s] >= kept["sam_med3d_turbo", s] for _, s in kept)
    return decide(better, f"Share of the structural average kept on PET: {text}.")


def _nninteractive_falls(tables: Tables) -> Outcome:
    t = tables["umd_table1"].query("segmenter == 'nninteractive' and structure == 'average'")
    of = t.set_index("modality")
    a, b = of.loc["CT"], of.loc["PET"]
    p = p_range((a["mean"], b["mean"]), (a["sd"], b["sd"]), n_scans("UMD-PETCT"), alpha=1e-4, half_unit=5e-5)
    return decide(
        p.difference < 0 and p.p_high < 1e-4,
        f"{a['mean']:.4f} to {b['mean']:.4f}; paired p at most {p.p_high:.1g} whatever ρ.",
    )


def _segvol_ct(tables: Tables) -> Outcome:
    ct = scores(tables, "petct", "CT")["segvol"]
    text = f"CT: liver {ct['liver']:.4f}, spleen {ct['spleen']:.4f}, average {ct['average']:.4f}."
    return decide(max(ct["liver"], ct["spleen"]) < 0.3, text)


def _negligible_pet(tables: Tables) -> Outcome:
    training = read_training().query("segmenter in @SYSTEMS")
    parts, unknown = [], []
    for system, group in training.groupby("system", sort=False):
        pet = group[group["modality"] == "PET"]["volumes"]
        if pet.empty or group["volumes"].isna().any():
            unknown.append(system)
        else:
            parts.append((pet.sum() / group["volumes"].sum(), system))
    text = ", ".join(f"{s} {v:.1%}" for v, s in parts)
    if unknown and max(v for v, _ in parts) < 0.05:
        return cannot(f"PET share: {text}; numbers not published for {', '.join(unknown)}.")
    return decide(max(v for v, _ in parts) < 0.05, f"PET share: {text}.")


def _shading(tables: Tables) -> Outcome:
    certain = total = 0
    for name in ("umd_table1", "umd_table2"):
        groups = tables[name].query("structure != 'average'").groupby(["segmenter", "structure"])
        for _, pair in groups:
            a, b = pair.iloc[0], pair.iloc[1]
            p = p_range(
                (a["mean"], b["mean"]),
                (a["sd"], b["sd"]),
                n_scans(a["cohort"]),
                alpha=0.01,
                half_unit=a["half_unit"],
            )
            certain += p.p_high < 0.01
            total += 1
    return cannot(
        "A paired test needs the pairs or their correlation, and the test is not named. From "
        f"means, SDs and n, {certain} of {total} cells have p < 0.01 whatever the correlation."
    )


def _in_domain(tables: Tables) -> Outcome:
    return cannot("No number of SegVol on its own data is given beside the figure.")


def _leakage(tables: Tables) -> Outcome:
    return cannot("A statement on how data were collected; no number could show it.")


UMD_CLAIMS: tuple[Claim, ...] = tuple(
    Claim(key, "UMD", where, quote, reading, test)
    for key, where, quote, reading, test in (
        (
            "umd-scans",
            "Abstract",
            "490 whole-body PET/CT and 464 whole-body PET/MRI",
            "The other paper counts the same scans.",
            _n_scans,
        ),
        (
            "umd-masks",
            "Abstract",
            "∼12k 3D organ annotations",
            "13 organs in every scan, to the nearest thousand.",
            _annotations,
        ),
        ("umd-organs", "Section 3", "13 diverse organs", "Table 1 has 13 organs.", _organs),
        (
            "umd-vista-liver",
            "Section 4",
            "high precision in segmenting the liver from CT",
            "VISTA3D's liver is the best CT cell of Table 1.",
            _vista_liver,
        ),
        (
            "umd-vista-outlier",
            "Section 4",
            "an isolated outlier",
            "Every other VISTA3D cell is below 0.1.",
            _vista_outlier,
        ),
        (
            "umd-near-zero",
            "Section 4",
            "frequently plummeting to near-zero",
            "More than half of the cells of VISTA3D and SAT are below 0.01.",
            _near_zero,
        ),
        (
            "umd-sat",
            "Section 4",
            "total collapse of SAT across both CT and PET",
            "Both averages are below 0.05.",
            _sat_collapse,
        ),
        (
            "umd-points",
            "Section 4",
            "maintain a higher degree of continuity",
            "SAM-Med3D and nnInteractive average above the other three everywhere.",
            _points_above,
        ),
        (
            "umd-brain-lung",
            "Section 4",
            "moderate success in … the brain or lung",
            "On CT and MR, brain and lung of both are 0.4 or more.",
            _brain_lung,
        ),
        (
            "umd-thin",
            "Section 4",
            "aorta, esophagus, or pancreas, … fail to delineate",
            "Both systems score these below their own average everywhere.",
            _thin_organs,
        ),
        (
            "umd-bladder",
            "Section 4",
            "only temporarily mitigated in … the bladder",
            "The three point systems are better on PET than CT in the bladder.",
            _bladder,
        ),
        (
            "umd-beyond",
            "Section 4",
            "Beyond these high-uptake exceptions, … catastrophic loss",
            "On PET/CT, no organ without high uptake is better by 0.02 (p < 0.01 for every ρ).",
            lambda t: _exceptions(t, "petct"),
        ),
        (
            "umd-only-uptake",
            "Section 4",
            "recoveries in PET are only observed in high-uptake regions",
            "On PET/MR, no organ without high uptake is better by 0.02 (p < 0.01 for every ρ).",
            lambda t: _exceptions(t, "petmr"),
        ),
        (
            "umd-decline",
            "Section 4",
            "once again triggers a precipitous decline",
            "On PET/MR, SAM-Med3D and nnInteractive lose 0.02 or more on average.",
            _decline,
        ),
        (
            "umd-bias",
            "Conclusion",
            "a systemic structural bias",
            "Every system's average is lower on PET than on the structural image.",
            _bias,
        ),
        (
            "umd-similar",
            "Section 4",
            "Consistent with the PET/CT results, … a similar pattern",
            "Every system's average moves in the same direction in both sessions.",
            _similar,
        ),
        (
            "umd-mr-ct",
            "Section 4",
            "slightly higher average scores on structural MRI compared to CT",
            "For SAM-Med3D and nnInteractive.",
            _mr_above_ct,
        ),
        (
            "umd-liver-brain",
            "Section 4",
            "superior soft-tissue contrast in … the liver and brain",
            "Both systems score liver and brain higher on MR than on CT.",
            _liver_brain,
        ),
        (
            "umd-semantic-mr",
            "Section 4",
            "total collapse of semantic-guided models is remained",
            "The PET/MR averages of VISTA3D and SAT are below 0.05.",
            _semantic_mr,
        ),
        (
            "umd-reported",
            "Section 4",
            "significant performance gap compared to their reported",
            "On CT most systems fall by more than 0.1 from reported to UMD.",
            _reported_gap,
        ),
        (
            "umd-most-general",
            "Figure 4",
            "the highest relative generalization ability",
            "nnInteractive keeps a larger share of its average on PET than SAM-Med3D.",
            _most_general,
        ),
        (
            "umd-nni-falls",
            "Appendix",
            "significantly decreased when applied to PET",
            "nnInteractive's average falls from CT to PET, p < 0.0001 for every ρ.",
            _nninteractive_falls,
        ),
        (
            "umd-segvol",
            "Appendix",
            "failure occurs even within the structural CT domain",
            "SegVol's liver and spleen on CT are below 0.3.",
            _segvol_ct,
        ),
        (
            "umd-training",
            "Figure 1",
            "negligible fraction of the total data across all models",
            "PET is less than 5 % of the training volumes of each system.",
            _negligible_pet,
        ),
        (
            "umd-shading",
            "Tables 1 and 2",
            "significantly better with p < 0.01 and p < 0.0001",
            "The marks follow from the printed numbers.",
            _shading,
        ),
        (
            "umd-in-domain",
            "Appendix",
            "near-radiologist-level precision on in-domain data",
            "A number for SegVol on its own data.",
            _in_domain,
        ),
        (
            "umd-leakage",
            "Section 3",
            "we eliminate the risk of data leakage",
            "A number that shows it.",
            _leakage,
        ),
    )
)
