"""Claims of the UMD paper (arXiv 2602.07643)."""

from __future__ import annotations

import pandas as pd

from umdlib.labels import SESSIONS
from umdlib.published.acquisition import agreement
from umdlib.published.claims import (
    CONTRADICTED,
    DEPENDS,
    MARGIN,
    SLIGHT,
    SUPPORTED,
    Claim,
    Outcome,
    Tables,
    cannot,
    claims_of,
    decide,
    ordered,
    scores,
)
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.printed import fact, n_scans, read_training
from umdlib.published.significance import PRange, p_range

_POINT_MODELS = ["sam_med3d_turbo", "nninteractive"]
_SEMANTIC_MODELS = ["vista3d", "sat_pro"]
SYSTEMS = [*_POINT_MODELS, "segvol", *_SEMANTIC_MODELS]
# Organs of high FDG uptake 60 min after injection: brain, myocardium, and the urinary tract.
_HIGH_UPTAKE = ["brain", "heart", "kidney_left", "kidney_right", "urinary_bladder"]
_FLOOR = 0.2  # DSC; a cell below it in both images is near the floor
_PRECIPITOUS = 1 / 3  # share of the structural average that is lost
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
    low, total = _cells_below(tables, _SEMANTIC_MODELS, 0.01)
    return decide(low > total / 2, f"{low} of {total} cells of VISTA3D and SAT are below 0.01.")


def _sat_collapse(tables: Tables) -> Outcome:
    ct, pet = (scores(tables, "petct", m)["sat_pro"] for m in ("CT", "PET"))
    colon = scores(tables, "petct", "CT").loc["colon"]
    text = f"Averages {ct['average']:.4f} (CT) and {pet['average']:.4f} (PET)."
    if colon.idxmax() == "sat_pro":
        text += f" Its colon on CT, {colon.max():.4f}, is the best of the five systems there."
    return decide(max(ct["average"], pet["average"]) < 0.05, text)


def _points_above(tables: Tables) -> Outcome:
    ahead = []
    for s, m in CONDITIONS:
        average = scores(tables, s, m).loc["average"]
        ahead += list(average[_POINT_MODELS] - average.drop(_POINT_MODELS).max())
    return ordered(ahead, f"At least {min(ahead):+.4f}, two systems in 4 conditions.")


def _brain_lung(tables: Tables) -> Outcome:
    found = pd.concat(
        scores(tables, s.name, s.structural).loc[["brain", "lung"], _POINT_MODELS] for s in SESSIONS.values()
    ).to_numpy()
    text = f"The {found.size} structural cells are {found.min():.4f} to {found.max():.4f}."
    return decide(found.min() >= 0.4, text)


def _thin_organs(tables: Tables) -> Outcome:
    organs, behind = ["aorta", "esophagus", "pancreas"], []
    for s, m in CONDITIONS:
        table = scores(tables, s, m)[_POINT_MODELS]
        behind += list((table.loc["average"] - table.loc[organs]).to_numpy().ravel())
    best = max(scores(tables, s, m).loc[organs, _POINT_MODELS].max().max() for s, m in CONDITIONS)
    return ordered(behind, f"Average minus organ, {len(behind)} cells; the best organ cell is {best:.4f}.")


def _bladder(tables: Tables) -> Outcome:
    gap = _gap(tables, "petct").loc["urinary_bladder", [*_POINT_MODELS, "segvol"]]
    text = ", ".join(f"{MODELS[m]} {g:+.4f}" for m, g in gap.items())
    return ordered(gap, f"PET minus CT: {text}.")


def _exceptions(tables: Tables, session: str) -> Outcome:
    """Is PET better by `MARGIN` only where uptake is high, certain for every ρ at p < 0.01."""
    name = {"petct": "umd_table1", "petmr": "umd_table2"}[session]
    found = []
    for (model, organ), pair in tables[name].groupby(["segmenter", "structure"], sort=False):
        if organ in ("average", *_HIGH_UPTAKE):
            continue
        of = pair.set_index("modality")
        a, b = of.loc[SESSIONS[session].structural], of.loc["PET"]
        p = _pair_range(a, b, alpha=0.01)
        if p.difference >= MARGIN and p.p_high < 0.01:
            found.append((p.difference, model, organ, max(a["mean"], b["mean"])))
    found.sort(reverse=True)
    floor = [f for f in found if f[3] < _FLOOR]
    above = [f for f in found if f[3] >= _FLOOR]
    listed = "; ".join(f"{MODELS[m]} {STRUCTURES[o].lower()} {d:+.4f}" for d, m, o, _ in above) or "none"
    low = "; ".join(f"{MODELS[m]} {STRUCTURES[o].lower()} {d:+.4f}" for d, m, o, _ in floor) or "none"
    text = (
        f"{len(found)} cells outside brain, heart, kidneys and bladder are better on PET; above {_FLOOR:g}: {listed}; "
        f"below {_FLOOR:g} in both images: {low}."
    )
    return (CONTRADICTED if above else DEPENDS if floor else SUPPORTED), text


def _pair_range(a: pd.Series, b: pd.Series, *, alpha: float) -> PRange:
    """Range of p over the correlation of two cells of the same subjects."""
    means, sds = (a["mean"], b["mean"]), (a["sd"], b["sd"])
    return p_range(means, sds, n_scans(a["cohort"]), alpha=alpha, half_unit=a["half_unit"])


def _decline(tables: Tables) -> Outcome:
    mr, pet = (scores(tables, "petmr", m).loc["average", _POINT_MODELS] for m in ("MR", "PET"))
    lost = 1 - pet / mr
    text = ", ".join(f"{MODELS[m]} {pet[m] - mr[m]:+.4f} ({v:.0%} lost)" for m, v in lost.items())
    return decide(bool((lost >= _PRECIPITOUS).all()), f"PET minus MR: {text}.")


def _bias(tables: Tables) -> Outcome:
    gaps = pd.concat({s: _gap(tables, s).loc["average"] for s in SESSIONS})
    up = gaps[gaps > 0]
    text = ", ".join(f"{MODELS[m]} on {SESSIONS[s].title} {g:+.4f}" for (s, m), g in up.items())
    return ordered(-gaps, f"Structural minus PET, {len(gaps)} averages; rising: {text or 'none'}.")


def _similar(tables: Tables) -> Outcome:
    a, b = (_gap(tables, s).loc["average", SYSTEMS] for s in SESSIONS)
    kinds = [[(g >= MARGIN) * 1 - (g <= -MARGIN) * 1 for g in (a[m], b[m])] for m in SYSTEMS]
    same, opposite = sum(x == y for x, y in kinds), sum(x * y < 0 for x, y in kinds)
    text = ", ".join(f"{MODELS[m]} {a[m]:+.4f} and {b[m]:+.4f}" for m in SYSTEMS)
    verdict = CONTRADICTED if opposite else SUPPORTED if same == len(SYSTEMS) else DEPENDS
    return verdict, f"Alike in both sessions for {same} of {len(SYSTEMS)}, opposite for {opposite}: {text}."


def _mr_above_ct(tables: Tables) -> Outcome:
    ct, mr = scores(tables, "petct", "CT"), scores(tables, "petmr", "MR")
    gap = mr.loc["average", _POINT_MODELS] - ct.loc["average", _POINT_MODELS]
    text = ", ".join(f"{MODELS[m]} {g:+.4f}" for m, g in gap.items())
    verdict, numbers = ordered(gap, f"Averages, MR minus CT: {text} (other subjects).")
    return (verdict, numbers) if gap.max() <= SLIGHT else (CONTRADICTED, numbers)


def _liver_brain(tables: Tables) -> Outcome:
    ct, mr = scores(tables, "petct", "CT"), scores(tables, "petmr", "MR")
    gap = (mr - ct).loc[["liver", "brain"], _POINT_MODELS]
    text = ", ".join(
        f"{MODELS[m]} {STRUCTURES[o].lower()} {gap.loc[o, m]:+.4f}" for o in gap.index for m in _POINT_MODELS
    )
    return ordered(gap.to_numpy().ravel(), f"Organs: {text}.")


def _semantic_mr(tables: Tables) -> Outcome:
    found = pd.concat([scores(tables, "petmr", m).loc["average", _SEMANTIC_MODELS] for m in ("MR", "PET")])
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
    for model in _POINT_MODELS:
        for s in SESSIONS.values():
            a = scores(tables, s.name, s.structural).loc["average", model]
            kept[model, s.title] = scores(tables, s.name, "PET").loc["average", model] / a
    own = ", ".join(f"{MODELS[m]} {v:.0%} on {s}" for (m, s), v in kept.items())
    t = tables["umd_table3"].query("segmenter in @_POINT_MODELS").set_index(["column", "segmenter"])["value"]
    reported = {
        (m, s): t[f"UMD PET/{s} {s}", m] / t[f"Reported {s}", m] for m in _POINT_MODELS for s in ("CT", "MRI")
    }
    before = ", ".join(f"{MODELS[m]} {v:.0%} on {s}" for (m, s), v in reported.items())
    holds = [
        all(s["nninteractive", k] >= s["sam_med3d_turbo", k] for m, k in s if m == "nninteractive")
        for s in (kept, reported)
    ]
    verdict = SUPPORTED if all(holds) else DEPENDS if any(holds) else CONTRADICTED
    return verdict, (
        f"Share of the structural average kept on PET: {own}. Share of the reported score reached on "
        f"the structural image: {before}."
    )


def _nninteractive_falls(tables: Tables) -> Outcome:
    t = tables["umd_table1"].query("segmenter == 'nninteractive' and structure == 'average'")
    of = t.set_index("modality")
    a, b = of.loc["CT"], of.loc["PET"]
    p = _pair_range(a, b, alpha=1e-4)
    return decide(
        p.difference <= -MARGIN and p.p_high < 1e-4,
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
            certain += _pair_range(pair.iloc[0], pair.iloc[1], alpha=0.01).p_high < 0.01
            total += 1
    return cannot(
        "A paired test needs the pairs or their correlation, and the test is not named. From "
        f"means, SDs and n, {certain} of {total} cells have p < 0.01 whatever the correlation."
    )


def _in_domain(tables: Tables) -> Outcome:
    return cannot("No number of SegVol on its own data is given beside the figure.")


def _leakage(tables: Tables) -> Outcome:
    same, stated = agreement()
    return cannot(
        f"No number could show it. {same} of {stated} facts of acquisition that both state are those of "
        "PETWB-REP, a public set of the same centre; neither paper names the other."
    )


UMD_CLAIMS: tuple[Claim, ...] = claims_of(
    "UMD",
    {
        "umd-scans": (_n_scans, _annotations),
        "umd-organs": _organs,
        "umd-vista-liver": (_vista_liver, _vista_outlier),
        "umd-near-zero": _near_zero,
        "umd-sat": _sat_collapse,
        "umd-points": _points_above,
        "umd-brain-lung": _brain_lung,
        "umd-thin": _thin_organs,
        "umd-bladder": _bladder,
        "umd-beyond": lambda t: _exceptions(t, "petct"),
        "umd-only-uptake": lambda t: _exceptions(t, "petmr"),
        "umd-decline": _decline,
        "umd-bias": _bias,
        "umd-similar": _similar,
        "umd-mr-ct": (_mr_above_ct, _liver_brain),
        "umd-semantic-mr": _semantic_mr,
        "umd-reported": _reported_gap,
        "umd-most-general": _most_general,
        "umd-nni-falls": _nninteractive_falls,
        "umd-segvol": _segvol_ct,
        "umd-training": _negligible_pet,
        "umd-shading": _shading,
        "umd-in-domain": _in_domain,
        "umd-leakage": _leakage,
    },
)
