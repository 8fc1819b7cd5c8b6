import re

import pytest
from published_help import paper

from umdlib import published
from umdlib.errors import InputError
from umdlib.published.claims import VERDICTS, Claim, claims_of, load_tables, ordered, together


@pytest.fixture(scope="module")
def tables():
    return load_tables()


@pytest.fixture(scope="module")
def verdicts(tables):
    return published.evaluate(published.ALL_CLAIMS, tables).set_index("key")


def changed(tables, name, query, **values):
    """The tables with some cells altered."""
    table = tables[name].copy()
    rows = table.query(query).index
    assert len(rows)
    for column, value in values.items():
        table.loc[rows, column] = value
    return {**tables, name: table}


def verdict(key, tables):
    claim = next(c for c in published.ALL_CLAIMS if c.key == key)
    return claim.test(tables)[0]


def test_the_verdicts_of_both_papers(verdicts):
    assert verdicts.groupby(["paper", "verdict"]).size().to_dict() == {
        ("SegAnyPET", "contradicted"): 6,
        ("SegAnyPET", "depends on the reading"): 1,
        ("SegAnyPET", "not testable"): 4,
        ("SegAnyPET", "supported"): 10,
        ("UMD", "contradicted"): 3,
        ("UMD", "depends on the reading"): 5,
        ("UMD", "not testable"): 4,
        ("UMD", "supported"): 12,
    }
    assert set(verdicts["verdict"]) == set(VERDICTS)


# What an independent reading of the tables gave.
@pytest.mark.parametrize(
    ("key", "after", "words"),
    [
        ("umd-decline", "contradicted", "SAM-Med3D -0.0360 (8% lost)"),
        ("umd-only-uptake", "depends on the reading", "above 0.2: none"),
        ("umd-most-general", "depends on the reading", "nnInteractive 87% on CT"),  # 0.481 / 0.55
        ("umd-mr-ct", "contradicted", "SAM-Med3D brain -0.0963"),
        ("umd-bias", "depends on the reading", "5 of 10 above by 0.02"),
        ("umd-bladder", "depends on the reading", "SegVol +0.0044"),
        ("umd-leakage", "not testable", "13 of 14 facts"),
        ("seg-everywhere", "contradicted", "Left out, a copied cell: UMD-PETMR heart"),
        ("seg-points", "contradicted", "not slightly"),
        ("seg-lesion", "depends on the reading", "PETS-Lymph 0.0892 to 0.0932"),
    ],
)
def test_a_sentence_gets_the_verdict_of_its_numbers(verdicts, key, after, words):
    assert verdicts.loc[key, "verdict"] == after
    assert words in verdicts.loc[key, "numbers"]


def test_a_sentence_has_one_verdict_the_least_favourable():
    parts = [
        lambda t: ("supported", "a."),
        lambda t: ("not testable", "b."),
        lambda t: ("contradicted", "c."),
    ]
    assert together(*parts[:2])({}) == ("not testable", "a. b.")
    assert together(*parts)({}) == ("contradicted", "a. b. c.")


def test_every_difference_is_held_to_one_margin():
    assert ordered([0.02, 0.5], "")[0] == "supported"
    assert ordered([0.019, 0.5], "")[0] == "depends on the reading"
    assert ordered([-0.019, 0.5], "")[0] == "depends on the reading"
    assert ordered([-0.02, 0.5], "")[0] == "contradicted"


def test_a_copied_cell_counts_again_when_it_is_no_copy(tables):
    other = changed(
        tables,
        "seganypet_s4",
        "cohort == 'UMD-PETMR' and structure == 'heart' and segmenter == 'seganypet'",
        median=0.71,
    )
    claim = next(c for c in published.ALL_CLAIMS if c.key == "seg-everywhere")
    assert "28 of 35" in claim.test(tables)[1]
    assert "29 of 36" in claim.test(other)[1]
    assert "Left out" not in claim.test(other)[1]


def test_a_sentence_without_a_test_is_refused():
    with pytest.raises(InputError, match="do not match: .*umd-scans"):
        claims_of("UMD", {})


def test_quotes_are_as_short_as_a_test_needs(verdicts):
    assert (verdicts["quote"].str.split().str.len() <= 12).all()
    assert (verdicts[["where", "reading", "numbers"]] != "").all(axis=None)


@pytest.mark.parametrize("claim", published.ALL_CLAIMS, ids=lambda c: c.key)
def test_quotes_are_words_of_the_paper(claim):
    text = re.sub(r"[$*\\]|\s+", " ", paper(claim.paper).read_text(encoding="utf-8"))
    text = re.sub(r"\s+", " ", text.replace(" sim ", "∼").replace("∼ ", "∼"))
    for part in claim.quote.split("…"):
        assert part.strip(" ,") in text, part


# One altered number turns each of these over.
@pytest.mark.parametrize(
    ("key", "name", "query", "values", "after"),
    [
        (
            "umd-vista-liver",
            "umd_table1",
            "segmenter == 'sam_med3d_turbo' and line == 1",
            {"mean": 0.95},
            "contradicted",
        ),
        (
            "umd-vista-liver",
            "umd_table2",
            "segmenter == 'vista3d' and line == 11",
            {"mean": 0.4},
            "contradicted",
        ),
        ("umd-sat", "umd_table1", "segmenter == 'sat_pro' and line == 27", {"mean": 0.2}, "contradicted"),
        ("umd-points", "umd_table1", "segmenter == 'segvol' and line == 28", {"mean": 0.9}, "contradicted"),
        (
            "umd-thin",
            "umd_table1",
            "segmenter == 'nninteractive' and row == 'Pancreas'",
            {"mean": 0.6},
            "contradicted",
        ),
        ("umd-bladder", "umd_table1", "segmenter == 'segvol' and line == 20", {"mean": 0.05}, "contradicted"),
        (
            "umd-decline",
            "umd_table2",
            "segmenter == 'sam_med3d_turbo' and line == 28",
            {"mean": 0.2},
            "supported",
        ),
        ("umd-only-uptake", "umd_table2", "row_line == 2", {"mean": 0.0}, "supported"),
        ("umd-mr-ct", "umd_table2", "row == 'Brain' and row_line == 1", {"mean": 0.99}, "supported"),
        (
            "umd-most-general",
            "umd_table1",
            "segmenter == 'sam_med3d_turbo' and line == 28",
            {"mean": 0.1},
            "contradicted",
        ),
        (
            "umd-nni-falls",
            "umd_table1",
            "segmenter == 'nninteractive' and line == 28",
            {"mean": 0.48},
            "contradicted",
        ),
        ("umd-beyond", "umd_table1", "row_line == 2", {"mean": 0.0}, "supported"),
        ("umd-reported", "umd_table3", "column == 'UMD PET/CT CT'", {"value": 0.75}, "contradicted"),
        ("seg-sizes", "seganypet_table1", "line == 1 and unit == 'scans'", {"value": 1015.0}, "contradicted"),
        (
            "seg-petsorgan",
            "seganypet_table1",
            "cohort == 'PETS-Organ' and unit == 'scans'",
            {"value": 110.0},
            "contradicted",
        ),
        ("seg-nnunet", "seganypet_s1", "segmenter == 'nnunet'", {"median": 0.8}, "contradicted"),
        ("seg-on-par", "seganypet_s1", "prompt == '5 points'", {"median": 0.85}, "contradicted"),
        (
            "seg-internal",
            "seganypet_s4",
            "cohort == 'PETS-LC' and segmenter == 'segvol'",
            {"median": 0.5},
            "contradicted",
        ),
        (
            "seg-sat",
            "seganypet_s4",
            "cohort == 'UMD-PETMR' and segmenter == 'sat_pro'",
            {"median": 0.3},
            "contradicted",
        ),
        (
            "seg-times",
            "seganypet_s3",
            "metric == 'seconds' and segmenter == 'seganypet'",
            {"value": 12.0},
            "contradicted",
        ),
        (
            "seg-points",
            "seganypet_s4",
            "cohort == 'PETS-Organ' and segmenter in ['sam_med3d_turbo', 'nninteractive']",
            {"median": 0.04},
            "supported",
        ),
        ("seg-refine", "seganypet_s2", "prompt == '3 points'", {"median": 0.1}, "contradicted"),
        (
            "seg-psma",
            "seganypet_s4",
            "cohort == 'AutoPET-PSMA' and segmenter == 'segvol'",
            {"median": 0.9},
            "contradicted",
        ),
        ("seg-lesion", "seganypet_s4", "segmenter == 'seganypet_lesion'", {"median": 0.01}, "contradicted"),
    ],
)
def test_a_verdict_follows_the_table(tables, verdicts, key, name, query, values, after):
    before = verdicts.loc[key, "verdict"]
    if key == "umd-most-general":  # SAM-Med3D falling on one session is not enough
        tables = changed(tables, "umd_table2", "segmenter == 'sam_med3d_turbo' and line == 28", mean=0.1)
        after = "supported"
    assert before != after
    assert verdict(key, changed(tables, name, query, **values)) == after


def test_a_key_that_occurs_twice_is_refused(tables):
    claim = published.ALL_CLAIMS[0]
    with pytest.raises(InputError, match="occurs twice"):
        published.evaluate([claim, claim], tables)


def test_another_verdict_is_refused(tables):
    claim = Claim("k", "P", "W", "q", "r", lambda t: ("perhaps", ""))
    with pytest.raises(InputError, match="Invalid verdict 'perhaps'"):
        published.evaluate([claim], tables)
