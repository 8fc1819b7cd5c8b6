"""Numbers of the papers that captions and text of the chapters use, computed from the tables."""

from __future__ import annotations

from umdlib.published.audit import cohort_sizes
from umdlib.published.printed import SOURCES, cells, fact, read


def caption_words() -> dict[str, str]:
    """Words for the ``$name`` of captions: subjects of each cohort, organs, systems, cells.

    Returns
    -------
    dict
        ``n_umd_petct`` and its kin, ``n_organs``, ``n_systems``, ``n_cells``, ``n_averages``,
        ``n_task_specific``, ``nnunet_cases``, ``slices`` and ``tau``.

    Examples
    --------
    >>> words = caption_words()
    >>> words["n_umd_petct"], words["n_organs"], words["n_cells"]
    ('490', '13', '140')
    """
    table = cells(read("umd_table1"))
    s1 = cells(read("seganypet_s1"))
    words: dict[str, object] = {
        f"n_{cohort.lower().replace('-', '_')}": n for cohort, n in cohort_sizes().items()
    }
    words |= {
        "n_tables": len(SOURCES),
        "n_organs": table["structure"].nunique() - 1,
        "n_systems": table["segmenter"].nunique(),
        "n_cells": len(table),
        "n_averages": 2 * int((table["structure"] == "average").sum()),
        "n_task_specific": s1[s1["prompt"] == "none"]["segmenter"].nunique(),
        "n_trained_organs": s1["structure"].nunique(),
        "nnunet_cases": int(fact("umd_nnunet_cases")),
        "slices": f"{fact('slices_low'):.0f} to {fact('slices_high'):.0f}",
        "tau": f"{fact('tau'):.0f}",
    }
    return {name: str(value) for name, value in words.items()}
