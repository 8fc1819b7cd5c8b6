"""Claims of the SegAnyPET paper (arXiv 2603.11627)."""

from __future__ import annotations

import pandas as pd

from umdlib.published.claims import (
    CONTRADICTED,
    MARGIN,
    SLIGHT,
    Claim,
    Outcome,
    Tables,
    by_structure,
    cannot,
    claims_of,
    decide,
    medians,
    ordered,
)
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.printed import fact

_RIVALS = ["sam_med3d_turbo", "sat_pro", "vista3d", "segvol", "nninteractive"]
SPECIALISTS = ["nnunet", "segresnet", "stunet", "swinunetr"]
_INTERNAL = ["PETS-Organ", "PETS-Lymph", "PETS-LC"]
_EXTERNAL = ["UMD-PETCT", "UMD-PETMR", "AutoPET-PSMA"]
# Cells of SegAnyPET that are a copy (see the audit), and of which system.
_COPIED = {("UMD-PETMR", "heart"): "nninteractive"}
# Trained on: liver, kidneys, heart, spleen (Methods, C2-C4: five masks per scan).
SEEN = ["liver", "kidney_left", "kidney_right", "heart", "spleen"]


def _by_prompt(tables: Tables, name: str, prompt: str) -> pd.Series:
    """SegAnyPET's medians with a number of points, by structure."""
    chosen = tables[name].query("segmenter == 'seganypet' and prompt == @prompt")
    return chosen.set_index("structure")["median"]


def _specialists(tables: Tables, name: str = "seganypet_s1") -> pd.DataFrame:
    chosen = tables[name].query("segmenter in @SPECIALISTS")
    return by_structure(chosen, "median")


def _sizes(tables: Tables) -> Outcome:
    t = tables["seganypet_table1"].query("line <= 4").groupby("unit")["value"].sum()
    text = f"C1 to C4 sum to {t['scans']:,.0f} scans and {t['masks']:,.0f} masks."
    holds = (t["scans"], t["masks"]) == (fact("dev_scans"), fact("dev_masks"))
    return decide(holds, text)


def _udpet(tables: Tables) -> Outcome:
    a, b, total = (fact(f"udpet_{k}") for k in ("quadra", "uexplorer", "subjects"))
    return decide(a + b == total, f"{a:,.0f} + {b:,.0f} = {a + b:,.0f}.")


def _autopet(tables: Tables) -> Outcome:
    parts = [fact(f"autopet_{k}") for k in ("none", "melanoma", "lung", "lymphoma")]
    text = " + ".join(f"{p:.0f}" for p in parts) + f" = {sum(parts):,.0f}."
    return decide(sum(parts) == fact("autopet_scans"), text)


def _private(tables: Tables) -> Outcome:
    a, b = fact("private_results"), fact("private_methods")
    return decide(a == b, f"Results: {a:.0f}; Methods: {b:.0f} (PETS-A and PETS-B).")


def _external(tables: Tables) -> Outcome:
    n = len(tables["seganypet_table1"].query("9 < line < 13")["cohort"].unique())
    return decide(n == fact("external_results"), f"Table 1 lists {n} (C5, C6, C7).")


def _petsorgan(tables: Tables) -> Outcome:
    t = tables["seganypet_table1"].query("cohort == 'PETS-Organ'").set_index("unit")["value"]
    k = t["masks"] / t["scans"]
    text = f"{t['masks']:,.0f} masks / {t['scans']:.0f} scans = {k:g}."
    return decide(k == fact("petsorgan_organs"), text)


def _nnunet(tables: Tables) -> Outcome:
    t = _specialists(tables)
    behind = t.max(axis=1) - t["nnunet"]
    text = f"nnUNet is at most {behind.max():.4f} behind the best of the four, in 5 organs."
    return decide(behind.max() < MARGIN, text)


def _on_par(tables: Tables) -> Outcome:
    best = _specialists(tables).max(axis=1)
    one, five = (_by_prompt(tables, "seganypet_s1", p) - best for p in ("1 point", "5 points"))
    return decide(
        five.min() > -MARGIN,
        f"Median DSC minus the best specialist: 5 points {five.min():+.4f} to {five.max():+.4f} "
        f"(above it in {(five > 0).sum()} of 5 organs); 1 point {one.min():+.4f} to "
        f"{one.max():+.4f} (above it in {(one > 0).sum()} of 5).",
    )


def _surpassing(tables: Tables) -> Outcome:
    parts, most = [], 0
    for name, metric in (("seganypet_s1", "DSC"), ("seganypet_s2", "NSD")):
        best = _specialists(tables, name).max(axis=1)
        above = [
            int((_by_prompt(tables, name, p) - best >= MARGIN).sum())
            for p in ("1 point", "3 points", "5 points")
        ]
        parts.append(f"{metric} {above[0]}, {above[1]}, {above[2]}")
        most = max(most, *above)
    text = f"Organs of 5 above the best specialist by {MARGIN:g} with 1, 3, 5 points: {'; '.join(parts)}."
    return decide(most > 0, text)


def _tumour_specialists(tables: Tables) -> Outcome:
    return cannot("Specialists are printed for five organs only; none for a tumour.")


def _ahead(tables: Tables, cohorts: list[str]) -> pd.DataFrame:
    """Rows of supplementary table 4: how far SegAnyPET's median is above the best rival's, and which that is."""
    rows = []
    for cohort in cohorts:
        for organ, row in medians(tables, "seganypet_s4", cohort).iterrows():
            rival = row[_RIVALS].idxmax()
            text = f"{cohort} {STRUCTURES[organ].lower()}: {MODELS[rival]} {row[rival]:.4f}, {row['seganypet']:.4f}"
            copied = (name := _COPIED.get((cohort, organ))) is not None and row[name] == row["seganypet"]
            rows.append({"ahead": row["seganypet"] - row[rival], "text": text, "copied": copied})
    return pd.DataFrame(rows)


def _best_internal(tables: Tables) -> Outcome:
    rows = _ahead(tables, _INTERNAL)
    lost = rows[rows["ahead"] < MARGIN]["text"]
    return ordered(rows["ahead"], f"Not above: {'; '.join(lost)}." if len(lost) else "")


def _best_everywhere(tables: Tables) -> Outcome:
    every = _ahead(tables, _INTERNAL + _EXTERNAL)
    rows = every[~every["copied"]]
    lost = rows[rows["ahead"] < MARGIN]["text"]
    text = f"Not above: {'; '.join(lost)}." if len(lost) else ""
    if len(rows) < len(every):
        text += f" Left out, a copied cell: {'; '.join(every[every['copied']]['text'])}."
    return ordered(rows["ahead"], text)


def _sat_zero(tables: Tables) -> Outcome:
    t = pd.concat(
        [medians(tables, "seganypet_s4", c)["sat_pro"] for c in ("PETS-Organ", "UMD-PETCT", "UMD-PETMR")]
    )
    return decide(t.max() < 0.01, f"All {len(t)} organ medians are at most {t.max():.4f}.")


def _points_slightly(tables: Tables) -> Outcome:
    t = medians(tables, "seganypet_s4", "PETS-Organ")
    gaps = t[["sam_med3d_turbo", "nninteractive"]].sub(t["sat_pro"], axis=0).to_numpy().ravel()
    verdict, text = ordered(gaps, f"Points minus text, PETS-Organ: {min(gaps):+.4f} to {max(gaps):+.4f}.")
    return (verdict, text) if max(gaps) <= SLIGHT else (CONTRADICTED, text + " Better, and not slightly.")


def _unseen(tables: Tables) -> Outcome:
    t = medians(tables, "seganypet_s4", "UMD-PETCT")["seganypet"]
    seen, unseen = t[t.index.isin(SEEN)], t[~t.index.isin(SEEN)]
    return cannot(
        "No limit is named. Medians on UMD-PETCT: trained organs "
        f"{seen.min():.2f} to {seen.max():.2f} ({len(seen)} organs), others {unseen.min():.2f} to "
        f"{unseen.max():.2f} ({len(unseen)}), {(unseen < 0.5).sum()} of them below 0.5."
    )


def _times(tables: Tables) -> Outcome:
    t = tables["seganypet_s3"].query("metric == 'seconds'").set_index("line")
    flat = t[t["segmenter"].isin(["sam", "medsam"])]["value"]
    own = t[t["segmenter"] == "seganypet"]["value"].iloc[0]
    ratio = flat / own
    text = f"{', '.join(f'{s:g}' for s in flat)} s against {own:g} s: {ratio.min():.0f} to "
    return decide(ratio.min() >= 2, text + f"{ratio.max():.0f} times.")


def _workload(tables: Tables) -> Outcome:
    t = tables["seganypet_s3"].query("segmenter in ['sam', 'medsam']")["prompt"].unique()
    per_slice = [int(p.split("N")[0]) for p in t]
    few, many = int(fact("slices_low")), int(fact("slices_high"))
    low, high = min(per_slice) * few, max(per_slice) * many
    text = f"{min(per_slice)} to {max(per_slice)} points on each of {few} to {many} slices: {low} to {high}."
    return decide(low >= 10, text)


def _flat_models(tables: Tables) -> Outcome:
    t = tables["seganypet_s3"].query("metric == 'dice'")
    flat = t[t["segmenter"].isin(["sam", "medsam"])].groupby("structure")["median"].max()
    own = t[t["segmenter"] == "seganypet"].set_index("structure")["median"]
    ahead = own - flat
    return ordered(ahead, f"1 point minus the best 2D median: {ahead.min():+.4f} or more.")


def _refine(tables: Tables) -> Outcome:
    rises, even = [], 0
    for name in ("seganypet_s1", "seganypet_s2"):
        a, b, c = (_by_prompt(tables, name, p) for p in ("1 point", "3 points", "5 points"))
        rises += list(c - a)
        even += int(((a < b) & (b < c)).sum())
    verdict, text = ordered(
        rises, f"1 to 5 points, DSC and NSD; rising at both steps in {even} of {len(rises)}."
    )
    return (verdict, text) if even == len(rises) else (CONTRADICTED, text)


def _psma(tables: Tables) -> Outcome:
    rows = _ahead(tables, ["AutoPET-PSMA"])
    return ordered(rows["ahead"], f"{rows['text'].iloc[0]}.")


def _lesion(tables: Tables) -> Outcome:
    parts, gains = [], []
    for cohort, organ in (
        ("PETS-Lymph", "lymphoma"),
        ("PETS-LC", "lung_cancer"),
        ("AutoPET-PSMA", "prostate_carcinoma"),
    ):
        row = medians(tables, "seganypet_s4", cohort).loc[organ]
        gains.append(row["seganypet_lesion"] - row["seganypet"])
        parts.append(f"{cohort} {row['seganypet']:.4f} to {row['seganypet_lesion']:.4f}")
    return ordered(gains, f"Median DSC: {', '.join(parts)}.")


def _time_saved(tables: Tables) -> Outcome:
    return cannot(f"{fact('time_saved_1')} % and {fact('time_saved_2')} % are printed, the times are not.")


def _rate(tables: Tables) -> Outcome:
    left = 100 * fact("rate_factor")
    return decide(
        100 - fact("rate_reduction") == left,
        f"A factor of {fact('rate_factor')} leaves {left:.0f} % of the rate: a reduction by "
        f"{100 - left:.0f} %.",
    )


def _largest(tables: Tables) -> Outcome:
    return cannot("Needs a count of every other PET data set; none is printed.")


SEGANYPET_CLAIMS: tuple[Claim, ...] = claims_of(
    "SegAnyPET",
    {
        "seg-sizes": _sizes,
        "seg-udpet": _udpet,
        "seg-autopet": _autopet,
        "seg-private": _private,
        "seg-external": _external,
        "seg-petsorgan": _petsorgan,
        "seg-nnunet": _nnunet,
        "seg-on-par": (_on_par, _tumour_specialists),
        "seg-surpassing": _surpassing,
        "seg-internal": _best_internal,
        "seg-everywhere": (_best_everywhere, _flat_models),
        "seg-sat": _sat_zero,
        "seg-points": _points_slightly,
        "seg-unseen": _unseen,
        "seg-times": (_times, _workload),
        "seg-refine": _refine,
        "seg-psma": _psma,
        "seg-lesion": _lesion,
        "seg-time-saved": _time_saved,
        "seg-rate": _rate,
        "seg-largest": _largest,
    },
)
