"""Agreement without labels: means, bounds, ranks and predictions against other formulas."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from umdlib.statistics import label_free


def within(rows):
    """Rows of agreement: (subject, structure, agreement, distance, structural on PET, PET)."""
    names = ["subject", "structure", "agreement", "jaccard_distance", "structural_on_pet", "pet"]
    return pd.DataFrame(rows, columns=names).assign(session="petct", segmenter="a")


def test_means_are_over_structures_of_a_subject_then_over_subjects():
    rows = [("s1", "liver", 0.8, 0.4, 0.1, 0.3), ("s1", "lung", 0.4, 0.8, 0.2, 0.2)]
    rows += [("s2", "liver", 0.9, 0.1, 0.3, 0.2), ("s2", "lung", np.nan, np.nan, np.nan, np.nan)]
    (found,) = label_free.bound_table(within(rows)).to_dict("records")
    assert found["agreement"] == pytest.approx((0.6 + 0.9) / 2)
    assert found["largest_gap"] == pytest.approx((0.6 + 0.1) / 2)
    assert found["least_error"] == pytest.approx(found["largest_gap"] / 2)
    # gaps 0.2 and 0.0 of the one, -0.1 of the other
    assert found["measured_gap"] == pytest.approx((0.1 - 0.1) / 2)
    assert (found["broken"], found["n_subjects"], found["n_undefined"]) == (0, 2, 1)


def test_a_gap_beyond_its_bound_is_counted_and_an_unknown_one_is_not():
    rows = [("s1", "liver", 0.8, 0.2, 0.1, 0.4), ("s1", "lung", 0.8, 0.2, 0.1, 0.3)]
    rows += [("s2", "liver", 0.8, 0.2, np.nan, np.nan)]
    assert label_free.bound_table(within(rows))["broken"].item() == 1


def test_agreement_stands_beside_the_gap_of_the_same_structure_or_nowhere():
    known = within([("s1", "liver", 0.8, 0.2, 0.1, 0.2), ("s2", "liver", np.nan, 0.1, 0.1, 0.1)])
    keys = {"session": "petct", "segmenter": "a", "structure": "liver", "step": 0, "state": "paired"}
    gaps = pd.DataFrame(
        [{**keys, "subject": s, "difference": d, "pet": 0.5} for s, d in (("s1", -0.1), ("s2", -0.2))]
        + [{**keys, "subject": "s1", "difference": 9.0, "pet": 0.5, "step": 1}]
        + [{**keys, "subject": "s3", "difference": 9.0, "pet": 0.5, "state": "neither"}]
    )
    (found,) = label_free.with_gap(known, gaps).to_dict("records")
    assert (found["subject"], found["agreement"], found["gap"], found["pet_dice"]) == ("s1", 0.8, -0.1, 0.5)


@pytest.fixture
def pairs():
    rng = np.random.default_rng(5)
    rows = [
        (f"s{s}", "petct", structure, f"m{m}", rng.random(), rng.normal(-0.1, 0.2), rng.random())
        for s in range(5)
        for m in range(4)
        for structure in ("liver", "lung")
    ]
    columns = ["subject", "session", "structure", "segmenter", "agreement", "gap", "pet_dice"]
    return pd.DataFrame(rows, columns=columns)


def test_ranks_are_spearmans_of_the_means(pairs):
    table = label_free.validation_table(pairs, n_resamples=50).set_index("what")["value"]
    for by, words in ((["segmenter"], "systems"), (["segmenter", "structure"], "systems and structures")):
        means = (
            pairs.assign(size=pairs["gap"].abs()).groupby(by)[["agreement", "gap", "size", "pet_dice"]].mean()
        )
        for column, of in (("gap", "gap"), ("size", "size of the gap"), ("pet_dice", "DSC on PET")):
            expected = scipy.stats.spearmanr(means["agreement"], means[column]).statistic
            assert table[f"rank of {words} by {of}"] == pytest.approx(expected)


def test_the_gap_of_a_subject_is_predicted_from_the_others_alone(pairs):
    table = label_free.validation_table(pairs, n_resamples=50).set_index("what")["value"]
    by_line, by_mean = [], []
    for subject, own in pairs.groupby("subject"):
        rest = pairs[pairs["subject"].ne(subject)]
        line = scipy.stats.linregress(rest["agreement"], rest["gap"])
        by_line += list(own["gap"] - line.intercept - line.slope * own["agreement"])
        by_mean += list(own["gap"] - rest["gap"].mean())
    errors = [np.sqrt(np.mean(np.square(v))) for v in (by_line, by_mean)]
    found = [table[f"error of the gap predicted by {w}"] for w in ("agreement", "the others' mean")]
    assert found == pytest.approx(errors)


def test_two_subjects_rank_without_an_interval_and_one_predicts_nobody(pairs):
    two = label_free.validation_table(pairs[pairs["subject"].isin(["s0", "s1"])]).set_index("what")
    assert np.isfinite(two.loc["rank of systems by gap", "value"])
    assert np.isnan(two.loc["rank of systems by gap", "low"])
    one = label_free.validation_table(pairs[pairs["subject"].eq("s0")]).set_index("what")["value"]
    assert np.isnan(one["error of the gap predicted by agreement"])
    same = label_free.validation_table(pairs.assign(agreement=0.5), n_resamples=20).set_index("what")["value"]
    assert np.isnan(same["rank of systems by gap"])
