"""Claims of the SegAnyPET paper (arXiv 2603.11627)."""

from __future__ import annotations

import pandas as pd

from umdlib.published.claims import Claim, Outcome, Tables, by_structure, cannot, decide, medians
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.printed import fact

RIVALS = ["sam_med3d_turbo", "sat_pro", "vista3d", "segvol", "nninteractive"]
SPECIALISTS = ["nnunet", "segresnet", "stunet", "swinunetr"]
INTERNAL = ["PETS-Organ", "PETS-Lymph", "PETS-LC"]
EXTERNAL = ["UMD-PETCT", "UMD-PETMR", "AutoPET-PSMA"]
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
    return decide(behind.max() <= 0.01, text)


def _on_par(tables: Tables) -> Outcome:
    best = _specialists(tables).max(axis=1)
    one, five = (_by_prompt(tables, "seganypet_s1", p) - best for p in ("1 point", "5 points"))
    return decide(
        five.min() >= -0.02,
        f"Median DSC minus the best specialist: 5 points {five.min():+.4f} to {five.max():+.4f} "
        f"(above it in {(five > 0).sum()} of 5 organs); 1 point {one.min():+.4f} to "
        f"{one.max():+.4f} (above it in {(one > 0).sum()} of 5).",
    )


def _surpassing(tables: Tables) -> Outcome:
    parts, most = [], 0
    for name, metric in (("seganypet_s1", "DSC"), ("seganypet_s2", "NSD")):
        best = _specialists(tables, name).max(axis=1)
        above = [
            int((_by_prompt(tables, name, p) - best > 0).sum()) for p in ("1 point", "3 points", "5 points")
        ]
        parts.append(f"{metric} {above[0]}, {above[1]}, {above[2]}")
        most = max(most, *above)
    text = f"Organs of 5 above the best specialist with 1, 3, 5 points: {'; '.join(parts)}."
    return decide(most > 0, text)


def _tumour_specialists(tables: Tables) -> Outcome:
    return cannot("Specialists are printed for five organs only; none for a tumour.")


def _wins(tables: Tables, cohorts: list[str]) -> tuple[int, list[str]]:
    """Rows of supplementary table 4, and those where a rival's median is not below SegAnyPET's."""
    n, lost = 0, []
    for cohort in cohorts:
        t = medians(tables, "seganypet_s4", cohort)
        for organ, row in t.iterrows():
            n += 1
            if row[RIVALS].max() >= row["seganypet"]:
                who = row[RIVALS].idxmax()
                name = STRUCTURES[organ].lower()
                lost.append(f"{cohort} {name}: {MODELS[who]} {row[who]:.4f}, {row['seganypet']:.4f}")
    return n, lost


def _best_internal(tables: Tables) -> Outcome:
    n, lost = _wins(tables, INTERNAL)
    return decide(not lost, f"Highest median in {n - len(lost)} of {n} rows. {'; '.join(lost)}")


def _best_everywhere(tables: Tables) -> Outcome:
    n, lost = _wins(tables, INTERNAL + EXTERNAL)
    return decide(not lost, f"Highest median in {n - len(lost)} of {n} rows; not: {'; '.join(lost)}.")


def _sat_zero(tables: Tables) -> Outcome:
    t = pd.concat(
        [medians(tables, "seganypet_s4", c)["sat_pro"] for c in ("PETS-Organ", "UMD-PETCT", "UMD-PETMR")]
    )
    return decide(t.max() < 0.01, f"All {len(t)} organ medians are at most {t.max():.4f}.")


def _points_slightly(tables: Tables) -> Outcome:
    t = medians(tables, "seganypet_s4", "PETS-Organ")
    above = (t[["sam_med3d_turbo", "nninteractive"]].min(axis=1) > t["sat_pro"]).sum()
    return decide(above == len(t), f"Both are above SAT in {above} of {len(t)} rows of PETS-Organ.")


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
    low, high = min(per_slice) * 15, max(per_slice) * 30
    text = f"{min(per_slice)} to {max(per_slice)} points on each of 15 to 30 slices: {low} to {high}."
    return decide(low >= 10, text)


def _flat_models(tables: Tables) -> Outcome:
    t = tables["seganypet_s3"].query("metric == 'dice'")
    flat = t[t["segmenter"].isin(["sam", "medsam"])].groupby("structure")["median"].max()
    own = t[t["segmenter"] == "seganypet"].set_index("structure")["median"]
    ahead = own - flat
    text = f"1 point is above the best 2D median by {ahead.min():.4f} or more, in {len(ahead)} organs."
    return decide(ahead.min() > 0, text)


def _refine(tables: Tables) -> Outcome:
    rises = n = 0
    for name in ("seganypet_s1", "seganypet_s2"):
        a, b, c = (_by_prompt(tables, name, p) for p in ("1 point", "3 points", "5 points"))
        rises += int(((a < b) & (b < c)).sum())
        n += len(a)
    return decide(rises == n, f"Median DSC and NSD rise from 1 to 3 to 5 points in {rises} of {n}.")


def _psma(tables: Tables) -> Outcome:
    row = medians(tables, "seganypet_s4", "AutoPET-PSMA").loc["prostate_carcinoma"]
    text = f"SegAnyPET {row['seganypet']:.4f}, best rival {row[RIVALS].max():.4f}."
    return decide(row["seganypet"] > row[RIVALS].max(), text)


def _lesion(tables: Tables) -> Outcome:
    parts, better = [], 0
    for cohort, organ in (
        ("PETS-Lymph", "lymphoma"),
        ("PETS-LC", "lung_cancer"),
        ("AutoPET-PSMA", "prostate_carcinoma"),
    ):
        row = medians(tables, "seganypet_s4", cohort).loc[organ]
        better += row["seganypet_lesion"] > row["seganypet"]
        parts.append(f"{cohort} {row['seganypet']:.4f} to {row['seganypet_lesion']:.4f}")
    return decide(better == 3, f"Median DSC: {', '.join(parts)}.")


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


SEGANYPET_CLAIMS: tuple[Claim, ...] = tuple(
    Claim(key, "SegAnyPET", where, quote, reading, test)
    for key, where, quote, reading, test in (
        (
            "seg-sizes",
            "Abstract",
            "11,041 … scans with 59,831 segmentation masks",
            "The parts in Table 1 sum to it.",
            _sizes,
        ),
        ("seg-udpet", "Methods, C2", "1,371 subjects", "The numbers by scanner sum to it.", _udpet),
        (
            "seg-autopet",
            "Methods, C1",
            "1,014 whole-body FDG-PET/CT scans",
            "The numbers by diagnosis sum to it.",
            _autopet,
        ),
        ("seg-private", "Results", "three private cohorts", "Methods count the same number.", _private),
        ("seg-external", "Results", "two external validation sets", "Table 1 lists as many.", _external),
        (
            "seg-petsorgan",
            "Methods",
            "annotations for 11 major organs",
            "Masks per scan in Table 1.",
            _petsorgan,
        ),
        (
            "seg-nnunet",
            "Results",
            "nnUNet remains competitive",
            "Median DSC within 0.01 of the best specialist in each organ.",
            _nnunet,
        ),
        (
            "seg-on-par",
            "Results",
            "comparable or superior performance to these specialist models",
            "With 5 points, median DSC at most 0.02 below the best specialist in each organ.",
            _on_par,
        ),
        (
            "seg-surpassing",
            "Introduction",
            "or even surpassing well-designed task-specific models",
            "With some printed number of points, above the best specialist in at least one organ.",
            _surpassing,
        ),
        (
            "seg-tumour",
            "Results",
            "on both tumor- and organ-focused evaluation settings",
            "Specialists' tumour scores are printed.",
            _tumour_specialists,
        ),
        (
            "seg-internal",
            "Results, Figure 3",
            "across all evaluated tasks",
            "Highest median of the general models in every internal row.",
            _best_internal,
        ),
        (
            "seg-everywhere",
            "Introduction",
            "consistently outperforms … with the same or less prompting",
            "Highest median in every row of Table S4, internal and external.",
            _best_everywhere,
        ),
        (
            "seg-sat",
            "Results",
            "DSC approaching zero for organ segmentation tasks",
            "Every organ median of SAT is below 0.01.",
            _sat_zero,
        ),
        (
            "seg-points",
            "Results",
            "deliver slightly better segmentation outcomes",
            "SAM-Med3D and nnInteractive above SAT in every row of PETS-Organ.",
            _points_slightly,
        ),
        (
            "seg-unseen",
            "Results",
            "robust generalization capability despite significant distribution shifts",
            "A limit for robust.",
            _unseen,
        ),
        (
            "seg-times",
            "Methods",
            "multi-fold increase in inference time",
            "2D systems take at least twice as long.",
            _times,
        ),
        (
            "seg-workload",
            "Methods",
            "tens of times greater",
            "2D systems need at least 10 times the points.",
            _workload,
        ),
        (
            "seg-2d",
            "Introduction",
            "outperforms the state-of-the-art segmentation foundation model",
            "SegAnyPET with 1 point above the best 2D system in each organ.",
            _flat_models,
        ),
        (
            "seg-refine",
            "Methods",
            "progressively refine its predictions",
            "Medians rise from 1 to 3 to 5 points in every organ.",
            _refine,
        ),
        (
            "seg-psma",
            "Results",
            "novel radiotracer uptake patterns",
            "Highest median of the general models on PSMA-PET.",
            _psma,
        ),
        (
            "seg-lesion",
            "Results",
            "enhanced lesion delineation",
            "SegAnyPET-Lesion above SegAnyPET on the three lesion tasks.",
            _lesion,
        ),
        (
            "seg-time-saved",
            "Results",
            "time savings of 82.37% and 82.95%",
            "Recomputed from printed times.",
            _time_saved,
        ),
        (
            "seg-rate",
            "Methods",
            "gamma value of 0.1, … reduced by 10%",
            "The words say what the factor does.",
            _rate,
        ),
        (
            "seg-largest",
            "Results",
            "the largest and most comprehensive",
            "Counts of other data sets.",
            _largest,
        ),
    )
)
