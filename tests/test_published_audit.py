import numpy as np
import pandas as pd
import pytest
from published_help import make_scores, records, summary

from umdlib import published
from umdlib.errors import InputError
from umdlib.published import audit, bounds, checks

NAMES = [f"s{i}" for i in range(6)]
N = {"C": 200}


def clean(seed: int, **options) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return records(summary(make_scores(rng, 200, 6), NAMES, **options))


def plant(table: pd.DataFrame, line: int, raw: str) -> pd.DataFrame:
    """The table with another printed cell in one line."""
    cell = table[table["line"] == line].iloc[0]
    keep = table[table["line"] != line]
    new = records([{"structure": cell["structure"], "raw": raw, "line": line}])
    return pd.concat([keep, new], ignore_index=True)


def named(found: pd.DataFrame) -> set[tuple[str, str]]:
    bad = found[~found["grade"].isin(["passed", "note"])]
    return set(zip(bad["check"], bad["grade"], strict=True))


@pytest.mark.parametrize("quartiles", [False, True])
def test_two_hundred_clean_tables_raise_no_alarm(quartiles):
    together = [  # one call: every check works within a cohort, a column, a line
        clean(seed, quartiles=quartiles).assign(
            cohort=f"C{seed}", column=f"M{seed}", line=lambda t, s=seed: t["line"] + 10 * s
        )
        for seed in range(200)
    ]
    n = {f"C{seed}": 200 for seed in range(200)}
    found = published.audit_table(pd.concat(together, ignore_index=True), n=n)
    assert len(found[found["check"] == "range"]) == 200 * 7
    assert found[found["grade"] != "passed"].to_dict("records") == []


def test_clean_tables_of_two_papers_agree():
    alarms, tests = [], 0
    for seed in range(30):
        a, b = clean(seed), clean(seed, quartiles=True)
        found = published.audit_across(a, b, N)
        tests += len(found)
        alarms += found[found["grade"] != "passed"].to_dict("records")
    assert tests == 30 * 7 * 2
    assert alarms == []


def test_an_sd_above_the_arch_is_impossible():
    # Largest SD at mean 0.5 is 0.5 (half the values 0, half 1), 0.5013 with n - 1.
    found = published.audit_table(plant(clean(1), 2, "0.5000(0.5020)"), n=N)
    assert ("sd bound", "impossible") in named(found)


@pytest.mark.parametrize("raw", ["0.5000(0.5000)", "0.5000(0.5013)"])
def test_an_sd_on_the_arch_is_possible(raw):
    found = checks.sd_bound(published.cells(plant(clean(1), 2, raw)), N)
    assert (found["grade"] == "passed").all()


def test_an_average_that_is_not_the_mean_of_its_rows_is_inconsistent():
    table = clean(2)
    own = table[(table["structure"] == "average")]
    mean, sd = (own[own["statistic"] == s]["value"].iloc[0] for s in ("mean", "sd"))
    found = published.audit_table(plant(table, 7, f"{mean + 0.0003:.4f}({sd:.4f})"), n=N)
    assert named(found) == {("average mean", "inconsistent")}


def test_an_average_sd_above_the_mean_sd_is_inconsistent():
    table = clean(3)
    wide = published.cells(table)
    rows = wide[wide["structure"] != "average"]
    mean, sd = wide.iloc[6]["mean"], rows["sd"].mean() * 1.02 + 0.001
    found = published.audit_table(plant(table, 7, f"{mean:.4f}({sd:.4f})"), n=N)
    assert named(found) == {("average sd", "inconsistent")}


def test_k_subjects_at_one_are_named():
    scores = np.zeros((200, 1))
    scores[:3] = 1.0
    raw = f"{scores.mean():.4f}({scores.std():.4f})"
    found = published.audit_table(plant(clean(4), 3, raw), n=N)
    suspect = found[found["grade"] == "suspect"]
    assert suspect["check"].tolist() == ["counts at one"]
    assert "3/200" in suspect["arithmetic"].iloc[0]


def test_one_score_near_one_in_a_cell_near_zero_is_a_note():
    scores = np.full((200, 1), 0.0002)
    scores[0] = 0.93
    raw = f"{scores.mean():.4f}({scores.std():.4f})"
    found = published.audit_table(plant(clean(4), 3, raw), n=N)
    assert "one large score" in set(found[found["grade"] == "note"]["check"])


def test_a_copied_cell_is_suspect_and_names_both_places():
    table = clean(5)
    raw = table[table["line"] == 1]["raw"].iloc[0]
    found = published.audit_table(plant(table, 4, raw), n=N)
    copied = found[found["check"].eq("copied cell") & found["grade"].eq("suspect")]
    assert len(copied) == 1
    assert "line 1" in copied["arithmetic"].iloc[0]
    assert "line 4" in copied["arithmetic"].iloc[0]


def test_a_median_outside_its_quartiles_is_impossible():
    table = plant(clean(6, quartiles=True), 2, "0.3000 (0.4000-0.5000)")
    assert ("quartile order", "impossible") in named(published.audit_table(table, n=N))


def test_a_per_cent_among_fractions_is_inconsistent_and_out_of_range():
    table = plant(clean(7), 2, "75.6000(10.0000)")
    found = named(published.audit_table(table, n=N))
    assert {("unit mix", "inconsistent"), ("range", "impossible")} <= found


def test_scores_that_fail_for_whole_subjects_are_noted():
    rng = np.random.default_rng(8)
    scores = rng.uniform(0.4, 0.6, (200, 6)) * (rng.random((200, 1)) < 0.5)
    found = published.audit_table(records(summary(scores, NAMES)), n=N)
    assert found[found["grade"] == "note"]["check"].tolist() == ["shared variation"]


def test_a_mean_outside_what_quartiles_allow_is_inconsistent():
    quartiles = plant(clean(9, quartiles=True), 2, "0.2000 (0.1000-0.3000)")
    # Lowest mean (0 + 0.1 + 0.2 + 0.3)/4 = 0.15, highest (0.1 + 0.2 + 0.3 + 1)/4 = 0.40.
    for raw, bad in (("0.1300(0.1500)", True), ("0.4300(0.2500)", True), ("0.2000(0.1500)", False)):
        found = published.audit_across(plant(clean(9), 2, raw), quartiles, N)
        own = found[found["check"].eq("mean in quartiles") & found["where"].str.contains("s1")]
        assert (own["grade"].iloc[0] == "inconsistent") == bad


def test_an_sd_outside_what_quartiles_allow_is_inconsistent():
    quartiles = plant(clean(9, quartiles=True), 2, "0.2000 (0.1000-0.3000)")
    found = published.audit_across(plant(clean(9), 2, "0.2000(0.4500)"), quartiles, N)
    own = found[found["check"].eq("sd in quartiles") & found["where"].str.contains("s1")]
    assert own["grade"].tolist() == ["inconsistent"]


def test_an_unknown_n_is_not_testable():
    found = published.audit_table(clean(10))
    grades = found.groupby("check")["grade"].unique()
    assert grades["sd bound"].tolist() == ["not testable"]
    assert grades["average sd"].tolist() == ["not testable"]
    assert grades["average mean"].tolist() == ["passed"]


@pytest.mark.parametrize("size", [1, -3])
def test_an_n_of_which_no_sd_exists_is_refused(size):
    with pytest.raises(InputError, match="Must be 2 or more"):
        published.audit_table(clean(11), n={"C": size})


def test_a_missing_cell_is_refused():
    table = pd.concat([clean(1), clean(2).assign(column="M2", model="M2", segmenter="M2")])
    with pytest.raises(InputError, match=r"line 3: 1 of 2 cells"):
        published.audit_table(table[~((table["line"] == 3) & (table["column"] == "M2"))], n=N)


def test_a_missing_column_is_refused():
    with pytest.raises(InputError, match="Missing column"):
        published.audit_table(clean(1).drop(columns="cohort"), n=N)


def test_bounds_hold_for_data_that_reach_them():
    two = np.r_[np.zeros(30), np.ones(10)]
    assert bounds.largest_sd(two.mean(), n=40) >= two.std(ddof=1) - 1e-12
    assert np.isclose(bounds.largest_sd(two.mean(), n=40), two.std(ddof=1))
    same = np.outer(np.random.default_rng(1).random(50), [1.0, 0.5, 0.2])
    low, high = bounds.sd_of_average_range(same.std(axis=0), n=50)
    assert low <= same.mean(axis=1).std() <= high
    assert np.isclose(bounds.implied_correlation(same.std(axis=0), same.mean(axis=1).std()), 1)


def test_quartile_bounds_hold_for_any_scores():
    rng = np.random.default_rng(3)
    for _ in range(300):
        n = int(rng.integers(8, 200))
        x = rng.beta(*rng.uniform(0.1, 3, 2), n)
        x = np.where(rng.random(n) < rng.uniform(0, 0.6), rng.choice([0.0, 1.0]), x)
        q = np.quantile(x, [0.25, 0.5, 0.75], method=rng.choice(["linear", "weibull", "hazen"]))
        low, high = bounds.mean_range_from_quartiles(*q, n=n)
        assert low - 1e-12 <= x.mean() <= high + 1e-12
        low, high = bounds.sd_range_from_quartiles(*q, x.mean(), n=n)
        assert low - 1e-12 <= x.std() <= high + 1e-12


def test_sd_bounds_from_quartiles_are_tight_for_many_subjects():
    # Quartiles all 0 and mean 0.1: the top quarter holds it all; equal 0.4 or 40 % at 1.
    low, high = bounds.sd_range_from_quartiles(0, 0, 0, 0.1, n=10**9)
    assert np.isclose(low, np.sqrt(0.25 * 0.4**2 - 0.01), atol=1e-6)
    assert np.isclose(high, np.sqrt(0.1 - 0.01), atol=1e-6)


@pytest.fixture(scope="module")
def papers():
    return published.audit_papers()


def test_the_papers_give_these_findings(papers):
    # Counted by hand from the tables once; a new check changes these numbers, and that is news.
    bad = papers[~papers["grade"].isin(["passed", "note"])]
    assert bad.groupby(["grade", "check"]).size().to_dict() == {
        ("impossible", "sd bound"): 1,
        ("inconsistent", "average mean"): 7,
        ("inconsistent", "average sd"): 2,
        ("inconsistent", "same cell twice"): 1,
        ("inconsistent", "statement"): 2,
        ("inconsistent", "total"): 1,
        ("inconsistent", "unit mix"): 3,
        ("suspect", "copied cell"): 1,
        ("suspect", "counts at one"): 18,
    }


def test_every_finding_has_its_arithmetic_and_an_innocent_explanation(papers):
    bad = papers[papers["grade"] != "passed"]
    assert (bad["arithmetic"] != "").all()
    assert set(papers["check"]) <= set(published.INNOCENT)
    assert set(papers["grade"]) <= set(published.GRADES)


def test_pet_is_the_second_line(papers):
    note = papers[papers["check"] == "line order"]["arithmetic"]
    assert note.str.contains("10 of 10 averages equal table 3 with the structural").all()
    assert note.str.contains("the second lines break 0 ").all()


def test_udpet_does_not_add_up(papers):
    own = papers[papers["check"].eq("total") & papers["grade"].eq("inconsistent")]
    assert own["arithmetic"].tolist() == ["387 + 1,060 = 1,447; printed 1,371."]


def test_table_3_rounds_the_average_rows():
    assert (audit.overview()["grade"] == "passed").all()
    assert len(audit.overview()) == 20
