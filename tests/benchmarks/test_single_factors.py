"""The ladder where a synthetic PET differs from CT by one factor: `benchmarks/single_factors.py` has all four."""

from pathlib import Path

import pytest

from umdlib import segmenters
from umdlib.statistics import attribution

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "single_factors.py"


def test_a_shift_of_the_whole_body_is_alignment_alone(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    script = __import__("single_factors")
    monkeypatch.setattr(script, "STRUCTURES", ("brain", "spleen", "urinary_bladder"))
    monkeypatch.setattr(script, "SPACING_MM", 8.0)
    [(name, pair)] = script.drawn("sub-001", ["A, shift"])
    cells = script.climbed("sub-001", name, pair, [segmenters.open("threshold")])
    shares = attribution.share_rows(cells)
    means = shares.groupby("factor")["share"].mean()
    assert means["gap"] < -0.02
    assert means["A"] / means["gap"] >= 0.95, means
    assert means[["R", "N", "C"]].abs().max() <= 0.02 * abs(means["gap"])
    [row] = script.judged(shares)
    assert row["part"] == pytest.approx([means["A"] / means["gap"]] * 3, abs=1e-4)  # one subject: no spread
