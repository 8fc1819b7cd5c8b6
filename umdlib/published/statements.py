"""Checks of a paper's sums, captions, pointers and cohorts against its own tables."""

from __future__ import annotations

import pandas as pd

from umdlib.published.outcomes import Place, outcome, outcomes
from umdlib.published.printed import SOURCES, cells, fact, read, read_captions, read_centres, read_pointers
from umdlib.published.scales import SCALES

_SEG, _SEG_TEXT = "SegAnyPET, Table 1", "SegAnyPET, text"
# Structures annotated in every scan of a cohort (Methods, C2 to C6, and validation).
_MASKS_PER_SCAN = {"UDPET": 5, "PETS-A": 5, "PETS-B": 5, "PETS-Organ": 11, "UMD-PETCT": 13, "UMD-PETMR": 13}
_PARTS = {"Dev": (range(1, 5), 5), "Int": (range(6, 9), 9), "Ext": (range(10, 13), 13)}
# (where, prefix of the facts, parts, total)
_SUMS = (
    ("Methods, C1: scans by diagnosis", "autopet", "none melanoma lung lymphoma", "autopet_scans"),
    ("Methods, C2: subjects by scanner", "udpet", "quadra uexplorer", "udpet_subjects"),
    ("Methods, C7: scans with and without lesions", "psma", "with without", "psma_scans"),
)


def totals() -> pd.DataFrame:
    """Sums and products in SegAnyPET's table 1, and sums in its text."""
    wide = cells(read("seganypet_table1"))
    rows = []
    for label, (lines, last) in _PARTS.items():
        for unit in ("scans", "masks"):
            column = wide[wide["unit"] == unit].set_index("line")["value"]
            rows.append(_sum(f"{label}, {unit}", [column[i] for i in lines], column[last], _SEG))
    scans = wide[wide["unit"] == "scans"].set_index("line")["value"]
    parts = [scans[last] for _, last in _PARTS.values()]
    where = "Methods, Dataset construction: cases collected in all, against Dev, Int and Ext of Table 1"
    rows.append(_sum(where, parts, fact("collected_scans"), _SEG_TEXT))
    for cohort, k in _MASKS_PER_SCAN.items():
        own = wide[wide["cohort"] == cohort].set_index("unit")["value"]
        text = f"{own['scans']:,.0f} × {k} = {own['scans'] * k:,.0f}; printed {own['masks']:,.0f}."
        where = Place(_SEG, f"{cohort}: {k} masks per scan", f"{own['masks']:,.0f}")
        rows.append(outcome("total", where, own["scans"] * k != own["masks"], "inconsistent", text))
    for where, prefix, keys, total in _SUMS:
        rows.append(_sum(where, [fact(f"{prefix}_{k}") for k in keys.split()], fact(total), _SEG_TEXT))
    return outcomes(rows)


def _sum(where: str, parts: list[float], total: float, table: str) -> dict:
    text = f"{' + '.join(f'{p:,.0f}' for p in parts)} = {sum(parts):,.0f}; printed {total:,.0f}."
    return outcome("total", Place(table, where, f"{total:,.0f}"), sum(parts) != total, "inconsistent", text)


def statements() -> pd.DataFrame:
    """Numbers that the papers' texts give twice."""
    brain = (
        "Field of view of UMD-PETCT holds the brain (1 yes, 0 no): UMD's appendix (to the top of the "
        "head), SegAnyPET's Methods (from the skull base)"
    )
    batch = fact("batch_per_gpu") * fact("batch_gpus"), fact("batch_global")
    private = _facts("private_methods private_results")
    external = _facts("external_results external_generalisation")
    rate = 100 - fact("rate_reduction"), 100 * fact("rate_factor")
    view = _facts("brain_in_view_umd brain_in_view_seganypet")
    masks = round((fact("umd_petct") + fact("umd_petmr")) * fact("umd_organs"), -3), fact("umd_masks")
    pairs = (
        ("SegAnyPET", "Global batch", batch, "inconsistent"),
        ("SegAnyPET", "Private cohorts in the development set: Methods, Results", private, "inconsistent"),
        ("SegAnyPET", "External sets: two places of the Results", external, "note"),
        ("SegAnyPET", "Learning rate after a step, per cent of the rate before: words, gamma", rate, "note"),
        ("SegAnyPET", brain, view, "inconsistent"),
        ("UMD", "UMD masks, 13 organs in each of 954 scans, to the nearest thousand", masks, "inconsistent"),
    )
    rows = []
    for paper, where, (a, b), grade in pairs:
        place = Place(f"{paper}, text", where, f"{b:,.0f}")
        rows.append(outcome("statement", place, a != b, grade, f"{a:,.0f} against {b:,.0f}."))
    return outcomes(rows)


def _facts(keys: str) -> list[float]:
    """Facts by their keys."""
    return [fact(k) for k in keys.split()]


def captions() -> pd.DataFrame:
    """Every caption names the metric and the modalities that its table holds."""
    rows = []
    for c in read_captions().query("key != 'order'").to_dict("records"):
        table = read(c["name"])
        present = sorted(
            {next((m for m in SCALES if v.startswith(m)), v) for v in table[c["key"]]}
            - {"", "text", "seconds"}
        )
        named = c["value"].split(",")
        bad = not set(named) <= set(present)
        text = f"The caption's {c['key']} is {', '.join(named)}, the table's {', '.join(present)}."
        if c["key"] == "modality":
            bad = set(named) != set(present)
        where = Place(f"{SOURCES[c['name']].paper}, {SOURCES[c['name']].table}", "caption", c["words"])
        rows.append(outcome("caption", where, bad, "inconsistent", text))
    return outcomes(rows)


def pointers() -> pd.DataFrame:
    """Every table that the text points at holds what the text says is there."""
    tables = {name: read(name) for name in SOURCES}
    rows = []
    for p in read_pointers().to_dict("records"):
        holders = [n for n, t in tables.items() if (t[p["key"]] == p["value"]).any()]
        names = " and ".join(f"{SOURCES[n].paper}'s {SOURCES[n].table}" for n in holders) or "no table"
        text = f"The {p['what']}: the text points at {SOURCES[p['pointed']].table}; in {names}."
        where = Place(f"{p['paper']}, text", p["where"], SOURCES[p["pointed"]].table)
        rows.append(outcome("pointer", where, p["pointed"] not in holders, "inconsistent", text))
    return outcomes(rows)


def shared_centres() -> pd.DataFrame:
    """No external cohort of SegAnyPET shares a centre or a scanner model with the development set."""
    centres = read_centres()
    first = centres[centres["role"] == "development"]
    rows = []
    for kind, grade in (("centre", "inconsistent"), ("scanner", "note")):
        external = centres[centres["role"] == "external"]
        for cohort, value in external[["cohort", kind]].drop_duplicates().itertuples(index=False):
            shared = list(dict.fromkeys(first[first[kind] == value]["cohort"]))
            text = f"{cohort}, external: {value}"
            text += (
                f"; so is {', '.join(shared)}, in development." if shared else ", in no development cohort."
            )
            where = Place(_SEG_TEXT, f"{cohort}, {kind}", value)
            rows.append(outcome("shared centre", where, bool(shared), grade, text))
    return outcomes(rows)


def against_reference() -> pd.DataFrame:
    """Average DSC beside that of the nnU-Net which UMD trained on ten cases of the same modality.

    The best promptable system of each column of UMD's table 3, and SegAnyPET's medians on the same PET.
    """
    table = cells(read("umd_table3")).query("cohort != 'reported'")
    reference = table[table["segmenter"] == "nnunet"].set_index("column")["value"]
    others = table[table["segmenter"] != "nnunet"]
    rows = []
    for column, best in reference.items():
        c = others.loc[others[others["column"] == column]["value"].idxmax()].to_dict()
        text = f"Best of the promptable systems: {c['value']:.3f}; nnU-Net {best:.3f}: {c['value'] / best:.0%} of it."
        rows.append(outcome("reference", c, c["value"] < best, "note", text))
    quartiles = cells(read("seganypet_s4"))
    own = quartiles[quartiles["segmenter"] == "seganypet"]
    for cohort, column in (("UMD-PETCT", "UMD PET/CT PET"), ("UMD-PETMR", "UMD PET/MRI PET")):
        medians = own[own["cohort"] == cohort]["median"]
        text = (
            f"The mean of the {len(medians)} medians is {medians.mean():.3f}; nnU-Net's average on the same "
            f"PET, of means, is {reference[column]:.3f}."
        )
        where = Place("SegAnyPET, Supplementary Table 4", f"{cohort}, SegAnyPET with 1 point", "13 medians")
        rows.append(outcome("reference", where, medians.mean() < reference[column], "note", text))
    return outcomes(rows)
