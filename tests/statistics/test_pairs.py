"""Rows of one condition, their order, pairs that are none, and means as if nobody lacked a structure."""

import numpy as np
import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.scores.simulated import Model, score_table
from umdlib.statistics import condition, paired_differences, subject_means, unpaired
from umdlib.statistics.pairs import in_order, means_over_structures, standardised_means


def row(subject="s1", modality="PET", dice=0.5, **more):
    known = {"subject": subject, "session": "petct", "modality": modality, "structure": "liver"}
    known |= {"segmenter": "a", "prompt": "centre", "step": 0, "seed": 0, "status": "ok", "reason": ""}
    return known | {"dice": dice} | more


def test_several_prompts_without_the_wanted_one_are_not_chosen_among():
    table = pd.DataFrame([row(prompt="box"), row(prompt="random")])
    with pytest.raises(InputError) as error:
        condition(table)
    assert str(error.value) == "Unknown prompt of a 'centre'. Known: box, random."
    assert condition(table[:1])["prompt"].tolist() == ["box"]
    with pytest.raises(InputError, match="Unknown step of a '2'. Known: 0, 1"):
        condition(pd.DataFrame([row(), row(step=1)]), step=2)


def test_each_segmenter_keeps_its_only_prompt_and_unavailable_rows_stay():
    table = pd.DataFrame(
        [row(), row(prompt="random"), row(segmenter="b", prompt="class")]
        + [row(segmenter="c", prompt="", status="unavailable", dice=np.nan)]
    )
    found = condition(table)
    assert found[["segmenter", "prompt"]].to_numpy().tolist() == [["a", "centre"], ["b", "class"], ["c", ""]]
    assert condition(pd.DataFrame([row(), row(step=3)]), step=None)["step"].tolist() == [0, 3]


def test_rows_stand_by_session_segmenter_as_listed_organ_and_subject():
    table = pd.DataFrame(
        [
            row("s2", session="petmr"),
            row("s1", structure="tumour"),
            row("s1", segmenter="b"),
            row("s2"),
            row("s1", structure="spleen"),
            row("s1"),
        ]
    )
    found = in_order(table, ["b", "a"])[["session", "segmenter", "structure", "subject"]]
    assert found.to_numpy().tolist() == [
        ["petct", "b", "liver", "s1"],
        ["petct", "a", "liver", "s1"],
        ["petct", "a", "liver", "s2"],
        ["petct", "a", "spleen", "s1"],
        ["petct", "a", "tumour", "s1"],
        ["petmr", "a", "liver", "s2"],
    ]


def test_what_is_no_pair_is_counted_by_its_reason():
    table = pd.DataFrame(
        [
            row("s1"),
            row("s1", "CT"),
            row("s2"),
            row("s3"),
            row("s4", "CT"),
            row("s4", dice=np.nan, status="failed"),
        ]
    )
    found = unpaired(paired_differences(table)).set_index("why")["n"].to_dict()
    assert found == {"structural: no row": 2, "PET: failed": 1}


def test_another_structural_image_may_be_the_reference():
    table = pd.DataFrame([row(), row(modality="CT", dice=0.9), row(modality="MR", dice=0.6)])
    assert paired_differences(table)["difference"].item() == pytest.approx(-0.4)
    found = paired_differences(table, reference_modality="MR")["difference"].item()
    assert found == pytest.approx(-0.1)
    with pytest.raises(InputError, match="No rows of PET or its reference in the score table, only MR"):
        paired_differences(table[table["modality"].eq("MR")])
    with pytest.raises(InputError, match="Unknown modality 'PETT'. Did you mean 'PET'"):
        paired_differences(pd.DataFrame([row(modality="PETT")]))
    with pytest.raises(InputError, match="Unknown column 'structur'. Did you mean 'structure'"):
        subject_means(paired_differences(table), ["structur"])


def test_standardised_means_are_those_of_least_squares():
    """Subject + structure by a design matrix: the mean of the fitted values over all structures."""
    rng = np.random.default_rng(2)
    values = rng.normal(0, 1, (6, 4))
    values[[0, 1, 1, 4], [2, 0, 3, 1]] = np.nan
    n, k = values.shape
    where = np.argwhere(np.isfinite(values))
    design = np.zeros((len(where), n + k - 1))
    for line, (i, j) in enumerate(where):
        design[line, i] = 1
        if j:
            design[line, n + j - 1] = 1
    fitted = np.linalg.lstsq(design, values[tuple(where.T)], rcond=None)[0]
    expected = fitted[:n] + fitted[n:].sum() / k
    complete = np.isfinite(values).all(axis=1)
    expected[complete] = values[complete].mean(axis=1)
    found = standardised_means(pd.DataFrame(values, [f"s{i}" for i in range(n)]))
    assert found.to_numpy() == pytest.approx(expected)


def test_the_order_of_the_rows_changes_neither_a_bit_nor_a_reason():
    table = score_table(
        n_subjects=5, structures=["liver"], gap={"a": -0.2}, n_seeds=5, model=Model(failure_rate=0.4), seed=3
    )
    lost = np.random.default_rng(0).random(len(table)) < 0.3
    table.loc[lost, "dice"] = np.nan
    table.loc[lost, "status"] = np.where(np.arange(lost.sum()) % 2, "both_empty", "failed")
    table.loc[table["subject"].eq("sub-002") & table["modality"].eq("PET"), ["dice", "status"]] = (
        np.nan,
        "failed",
    )
    table = table.drop(index=table.index[::7])
    expected = paired_differences(table)
    assert expected["n_seeds"].max() > 2 and expected["why"].ne("").any()
    for seed in range(3):
        shuffled = paired_differences(table.sample(frac=1, random_state=seed))
        pd.testing.assert_frame_equal(shuffled, expected, check_exact=True)


def test_means_over_structures_are_plain_where_nothing_is_missing_and_standardised_where_something_is():
    index = pd.MultiIndex.from_product(
        [["s2", "s1", "s3"], ["liver", "aorta"]], names=["subject", "structure"]
    )
    cells = pd.DataFrame({"whole": [0.0, -0.2, 0.1, -0.1, 0.0, -0.4]}, index)
    cells["half"] = cells["whole"].where([True, True, True, False, True, True])
    found = means_over_structures(cells, jackknife=False)
    assert found.index.tolist() == ["s2", "s1", "s3"]
    assert found["whole"].tolist() == cells["whole"].groupby(level=0, sort=False).mean().tolist()
    # aorta lies 0.3 below liver in s2 and s3, so s1, at 0.1 in the liver, has a mean of 0.1 - 0.15
    assert found["half"].tolist() == pytest.approx([-0.1, -0.05, -0.2])
    assert means_over_structures(cells, sort=True).index.tolist() == ["s1", "s2", "s3"]
    twice = pd.concat([cells, cells.iloc[:1]])  # a second seed of one structure
    assert means_over_structures(twice, jackknife=False)["half"].tolist() == pytest.approx(
        [-0.1, -0.05, -0.2]
    )
    for_mean = means_over_structures(cells)
    assert for_mean["whole"].tolist() == found["whole"].tolist()
    assert for_mean["half"].mean() == pytest.approx(found["half"].mean())
    # without s2 or s3 the aorta of one subject is left: the other's 0.2 or 0.4 below its liver
    left_out = [(0.1 - 0.2 - 0.2) / 2, None, (-0.1 + 0.1 - 0.1) / 2]
    assert for_mean["half"].iloc[[0, 2]].diff().iloc[-1] == pytest.approx(2 * (left_out[0] - left_out[2]))


def test_pseudo_values_are_those_of_means_without_each_subject():
    """The standardised mean without each subject, fitted anew, to the mean of all."""
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, (9, 4))
    values[[0, 1, 1, 4, 7, 8], [2, 0, 3, 1, 3, 3]] = np.nan
    cells, n = pd.DataFrame(values), 9
    whole = standardised_means(cells).mean()
    without = np.array([standardised_means(cells.drop(i)).mean() for i in range(n)])
    expected = n * whole - (n - 1) * without
    found = standardised_means(cells, jackknife=True)
    assert found.to_numpy() == pytest.approx(expected - expected.mean() + whole)
    assert found.std() != pytest.approx(standardised_means(cells).std(), rel=1e-3)


def test_a_subject_that_alone_links_structures_has_a_finite_pseudo_value():
    cells = pd.DataFrame({"a": [0.0, 0.1, np.nan, 0.2], "b": [-0.2, np.nan, -0.3, np.nan]})
    found = standardised_means(cells, jackknife=True)
    assert np.isfinite(found).all() and found.mean() == pytest.approx(standardised_means(cells).mean())


def test_a_score_that_is_not_finite_is_no_pair_and_says_so():
    table = pd.DataFrame([row(modality="CT"), row(dice=np.inf), row("s2", "CT"), row("s2", dice=0.4)])
    found = paired_differences(table)
    assert found["state"].tolist() == ["structural only", "paired"]
    assert found["why"].tolist() == ["PET: undefined", ""]
