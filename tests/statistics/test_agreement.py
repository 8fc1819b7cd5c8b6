"""Limits of agreement, consequences beside overlap, and networks, on tables with known answers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from umdlib.errors import InputError
from umdlib.quantities.masks import QUANTITIES
from umdlib.scores.simulated import score_table
from umdlib.scores.table import KEYS
from umdlib.statistics import agreement, networks


def quantities_of(scores, factor=1.0):
    """A sister table whose predictions read `factor` times the reference's SUVmean."""
    table = scores[[*KEYS, "status", "reason"]].copy()
    organ = table["structure"].astype("category").cat.codes + 2.0
    person = table["subject"].astype("category").cat.codes
    for q in QUANTITIES:
        table[f"reference_{q}"] = organ + 0.1 * person
        table[f"prediction_{q}"] = table[f"reference_{q}"] * factor
    return table


@pytest.fixture
def scores():
    return score_table(n_subjects=6, structures=["liver", "aorta", "spleen"], gap={"a": -0.1, "b": -0.2})


def test_bias_and_limits_are_those_of_the_formula(scores):
    changes = np.array([-12.0, -4.0, 1.0, 3.0, 8.0, 10.0])
    person = scores["subject"].astype("category").cat.codes.to_numpy()
    table = agreement.quantity_changes(quantities_of(scores, 1 + changes[person] / 100))
    row = agreement.agreement_table(table).iloc[0]
    sd = changes.std(ddof=1)
    assert row["bias"] == pytest.approx(1.0) and row["sd"] == pytest.approx(sd)
    assert row["low"] == pytest.approx(1 - 1.96 * sd) and row["high"] == pytest.approx(1 + 1.96 * sd)
    # Bland & Altman 1999: se = s sqrt(1/n + 1.96²/(2(n-1))), Student's t with 5 degrees of freedom 2.5706
    reach = 2.5706 * sd * np.sqrt(1 / 6 + 1.96**2 / 10)
    assert row["high_high"] - row["high"] == pytest.approx(reach, rel=1e-4)
    assert row["within"] == pytest.approx(5 / 6)  # -12 % lies outside ±10.8 %
    assert row["bias_low"] < 1 < row["bias_high"]


def test_two_subjects_have_no_limits_but_a_reason(scores):
    few = quantities_of(scores[scores["subject"].isin(["sub-001", "sub-002"])], 1.1)
    table = agreement.agreement_table(agreement.quantity_changes(few))
    assert table["bias"].round(6).eq(10).all() and table["low"].isna().all()
    assert table["why"].eq("2 of the 3 subjects that limits need").all()


def test_an_undefined_quantity_is_counted_with_its_reason(scores):
    table = quantities_of(scores)
    empty = table["subject"].eq("sub-003")
    table.loc[empty, [f"prediction_{q}" for q in QUANTITIES if q != "ml"]] = np.nan
    changes = agreement.quantity_changes(table)
    assert changes.loc[changes["subject"].eq("sub-003"), "why"].eq("the prediction is empty").all()
    found = agreement.agreement_table(changes)
    assert found["n_undefined"].eq(1).all() and found["n_subjects"].eq(5).all()
    near_water = quantities_of(scores).assign(reference_hu_mean=4.0)
    why = agreement.quantity_changes(near_water, "hu_mean")["why"]
    assert why.str.contains("within 10 HU of water").all()


def test_an_unknown_quantity_and_a_foreign_table_are_refused(scores):
    with pytest.raises(InputError, match="suv_maen.*suv_mean"):
        agreement.quantity_changes(quantities_of(scores), "suv_maen")
    with pytest.raises(InputError, match="no row"):
        agreement.consequences(scores, quantities_of(scores).assign(segmenter="c"))


def test_the_page_finds_overlap_and_consequence_that_disagree(scores):
    pet = scores["modality"].eq("PET")
    scores = scores[pet].reset_index(drop=True)
    factor = np.full(len(scores), 1.1)
    scores["dice"] = 0.7
    scores.loc[3, "dice"], factor[3] = 0.5, 1.01
    scores.loc[7, "dice"], factor[7] = 0.9, 0.7
    pairs = agreement.consequences(scores, quantities_of(scores, factor))
    harmless, costly = agreement.disagreements(pairs)
    assert len(harmless) == len(costly) == 1
    assert harmless["change"].item() == pytest.approx(1.0) and costly["change"].item() == pytest.approx(-30.0)
    none, still = agreement.disagreements(pairs[pairs["dice"].gt(0.6)])
    assert none.empty and len(still) == 1  # no row of blanks where there is no poor overlap
    told = agreement.overlap_and_change(pairs.assign(change=1 - pairs["dice"]))
    assert told["rank_correlation"].dropna().round(9).eq(-1).all()


def uptake(n=40, seed=0):
    """Two organs that vary together and one that does not."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.3, n)
    logs = {"liver": shared + rng.normal(0, 0.1, n), "spleen": shared + rng.normal(0, 0.1, n)}
    return np.exp(
        pd.DataFrame(logs | {"brain": rng.normal(0, 0.3, n)}, index=[f"sub-{i:03d}" for i in range(n)])
    )


def test_edges_are_correlations_of_logarithms_with_fishers_interval():
    table = uptake()
    edges = networks.network(table).set_index(["first", "second"])
    r = np.corrcoef(np.log(table["liver"]), np.log(table["spleen"]))[0, 1]
    edge = edges.loc[("liver", "spleen")]
    assert edge["correlation"] == pytest.approx(r)
    assert np.arctanh(edge["high"]) - np.arctanh(r) == pytest.approx(1.959964 / np.sqrt(37))
    assert edge["low"] > 0 and edges.loc[("liver", "brain"), "low"] < 0


def test_the_distance_is_zero_for_the_same_masks_and_that_of_the_edges_otherwise():
    table = uptake()
    same = networks.network_distance(table, table)
    assert same["distance"] == same["low"] == same["high"] == 0 and same["chance"] > 0
    other = table.assign(spleen=uptake(seed=5)["spleen"])
    edges = [networks.network(t)["correlation"] for t in (table, other)]
    found = networks.network_distance(table, other)
    assert found["distance"] == pytest.approx((edges[1] - edges[0]).abs().mean())
    assert found["low"] < found["distance"] < found["high"] and found["distance"] > found["chance"]
    without = [networks.network_distance(table.drop(i), other.drop(i))["distance"] for i in table.index]
    n, spread = len(table), np.std(without)
    reach = stats.t.ppf(0.975, n - 1) * np.sqrt(n - 1) * spread
    assert found["high"] - found["distance"] == pytest.approx(reach)


def test_an_organ_that_most_subjects_lack_is_left_out_of_the_distance():
    table = uptake()
    gone = table.assign(spleen=table["spleen"].where(np.arange(len(table)) < 6))
    found = networks.network_distance(table, gone)
    assert found["n_subjects"] == len(table) and found["distance"] == 0
    assert found["n_edges"] == (table.shape[1] - 1) * (table.shape[1] - 2) / 2


def test_too_few_subjects_and_no_spread_give_no_edge():
    edges = networks.network(uptake(3))
    assert (
        edges["correlation"].isna().all() and edges["why"].eq("3 of the 4 subjects that an edge needs").all()
    )
    assert np.isnan(networks.network_distance(uptake(3), uptake(3))["distance"])
    flat = networks.network(uptake().assign(brain=7.0)).set_index(["first", "second"])
    assert flat.loc[("liver", "brain"), "why"] == "an organ with one value in all subjects"
