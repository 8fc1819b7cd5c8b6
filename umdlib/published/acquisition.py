"""How UMD's PET/CT images were acquired, beside a public set of the same centre (PETWB-REP)."""

from __future__ import annotations

import pandas as pd

from umdlib.errors import unknown_name
from umdlib.published.checks import counts_of, sized
from umdlib.published.printed import PREPRINTS, n_scans, read, read_acquisition

UMD, SEGANYPET, PUBLIC = SETS = ("UMD", "SegAnyPET", "PETWB-REP")
SAME, DIFFERS, ONCE = "the same", "differs", "stated once"


def side_by_side(group: str = "acquisition") -> pd.DataFrame:
    """Facts of a group in the three sources, and whether those that state one agree.

    Parameters
    ----------
    group
        ``acquisition``, ``cohort`` or ``publication``.

    Returns
    -------
    pandas.DataFrame
        Indexed by the fact's key: ``what, unit``, a column per source (empty where it says nothing),
        ``verdict`` (``the same``, ``differs``, or ``stated once``).
    """
    facts = read_acquisition()
    if group not in set(facts["group"]):
        raise unknown_name("group of facts", group, facts["group"].unique())
    facts = facts[facts["group"] == group]
    wide = facts.pivot(index="key", columns="source", values="value").reindex(columns=list(SETS))
    wide = wide.loc[facts["key"].drop_duplicates()].astype(object).fillna("")
    labels = facts.drop_duplicates("key").set_index("key")[["what", "unit"]]
    stated = wide.apply(lambda row: [v for v in row if v], axis=1)
    verdict = stated.map(lambda v: ONCE if len(v) < 2 else SAME if len(set(v)) == 1 else DIFFERS)
    return labels.join(wide).assign(verdict=verdict)


def agreement() -> tuple[int, int]:
    """Number of facts of acquisition in which all sources agree, and number that the public set shares.

    A fact counts where the public set states it and at least one of the two papers does.

    Examples
    --------
    >>> same, stated = agreement()
    >>> 0 < same <= stated
    True
    """
    table = side_by_side()
    shared = table[(table[PUBLIC] != "") & table[[UMD, SEGANYPET]].ne("").any(axis=1)]
    return int((shared["verdict"] == SAME).sum()), len(shared)


def months_public_before() -> int:
    """Months from the public record to the paper that calls its data newly collected.

    Examples
    --------
    >>> months_public_before()
    6
    """
    since = side_by_side("publication").loc["public"]
    first, later = (pd.Period(since[s], "M") for s in (PUBLIC, UMD))
    return int((later - first).n)


def authors_in_common() -> list[str]:
    """Authors of UMD among those of the public set, in UMD's order."""
    row = side_by_side("publication").loc["authors"]
    public = set(row[PUBLIC].split("; "))
    return [name for name in row[UMD].split("; ") if name in public]


def systems_older_than_the_record() -> pd.Series:
    """Whether the preprint of each system that UMD scores is older than the public record, by system."""
    since = pd.Period(side_by_side("publication").loc["public", PUBLIC], "M")
    months = {name: pd.Period(f"20{a[:2]}-{a[2:4]}", "M") for name, a in PREPRINTS.items()}
    return pd.Series({name: month < since for name, month in months.items()})


def brain_row() -> dict[str, float]:
    """Numbers of the printed tables on the brain in UMD's PET/CT.

    Returns
    -------
    dict
        ``n`` subjects; ``masks`` printed for 13 organs; ``without`` the subjects whose brain reference
        was empty, if SAT's cell counts empty pairs as 1 (NaN if it does not); ``best`` the highest mean DSC
        of the brain on PET.
    """
    n = n_scans("UMD-PETCT")
    table = sized(read("umd_table1"), {"UMD-PETCT": n}).query("structure == 'brain' and modality == 'PET'")
    found = counts_of(table[table["segmenter"] == "sat_pro"].iloc[0].to_dict())
    counts = read("seganypet_table1").query("cohort == 'UMD-PETCT' and unit == 'masks'")["value"]
    return {
        "n": n,
        "masks": counts.iloc[0],
        "without": float(found[0][0]) if found else float("nan"),
        "best": table["mean"].max(),
    }
