"""The case explorer with the titles that the book gives its systems."""

from __future__ import annotations

import pandas as pd

from umdlib.cohort import Cohort
from umdlib.segmenters import registry
from umdlib.viewer.explorer import CaseExplorer


def explorer(cohort: Cohort, table: pd.DataFrame, *, root: str, spacing_mm: float = 4.0) -> CaseExplorer:
    """Every score of a run, and every examination with both images in the viewer."""
    known = set(registry.names())
    titles = {n: registry.get(n).title if n in known else n for n in table["segmenter"].unique()}
    return CaseExplorer(cohort, table, root, titles, spacing_mm)
