import numpy as np
import pandas as pd
import pytest
from published_help import make_scores, records, summary

from umdlib import published
from umdlib.errors import InputError
from umdlib.published import across, audit, bounds, checks, copies, series, statements

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
    found = checks.sd_bound(checks.sized(plant(clean(1), 2, raw), N))
    assert (found["grade"] == "passed").all()


def test_an_average_that_is_not_the_mean_of_its_rows_is_inconsistent():
    table = clean(2)
    own = table[(table["structure"] == "average")]
    mean, sd = (own[own["statistic"] == s]["value"].iloc[0] for s in ("mean", "sd"))
    planted = plant(table, 7, f"{mean + 0.0003:.4f}({sd:.4f})")
    found = published.audit_table(planted, n=N, complete=True)
    assert named(found) == {("average over others", "inconsistent")}
    found = published.audit_table(planted, n=N)
    assert named(found) == set()
    assert "average over others" in set(found[found["grade"] == "note"]["check"])


def test_an_average_outside_its_rows_is_inconsistent_whatever_the_subjects():
    table = clean(2)
    most = table[table["statistic"] == "mean"]["value"].max()
    found = published.audit_table(plant(table, 7, f"{most + 0.01:.4f}(0.0300)"), n=N)
    assert ("average mean", "inconsistent") in named(found)


def test_a_pooled_average_and_its_sd_are_of_a_kind_of_their_own():
    # Three groups of 16, 16 and 48 cases: the average over all 80 cases is not that of the rows.
    rng = np.random.default_rng(4)
    groups = [rng.beta(a, 2, n) for a, n in ((9, 16), (14, 16), (4, 48))]
    every = np.concatenate(groups)
    rows = [(f"g{i}", g) for i, g in enumerate(groups)] + [("average", every)]
    cells = [
        {"structure": name, "raw": f"{g.mean():.4f}({g.std():.4f})", "line": i + 1}
        for i, (name, g) in enumerate(rows)
    ]
    table = records(cells)
    sizes = {name: len(g) for name, g in rows}
    known = published.audit_table(table.assign(n=table["structure"].map(sizes)))
    assert named(known) == set()  # weighted by n it is the mean of the rows
    unknown = published.audit_table(table, n={"C": 80})
    assert named(unknown) == set()
    assert (unknown[unknown["check"] == "average over others"]["grade"] == "note").all()


def test_an_average_sd_above_the_mean_sd_is_inconsistent():
    table = clean(3)
    wide = published.cells(table)
    rows = wide[wide["structure"] != "average"]
    mean, sd = wide.iloc[6]["mean"], rows["sd"].mean() * 1.02 + 0.001
    found = published.audit_table(plant(table, 7, f"{mean:.4f}({sd:.4f})"), n=N, complete=True)
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
        ("inconsistent", "average over others"): 7,
        ("inconsistent", "average sd"): 2,
        ("inconsistent", "caption"): 2,
        ("inconsistent", "pointer"): 2,
        ("inconsistent", "shared centre"): 1,
        ("inconsistent", "statement"): 2,
        ("inconsistent", "total"): 2,
        ("inconsistent", "unit mix"): 3,
        ("suspect", "copied cell"): 1,
        ("suspect", "counts at one"): 18,
        ("suspect", "uneven step"): 1,
    }


def finding(papers, check):
    own = papers[papers["check"].eq(check) & papers["grade"].ne("passed")]
    assert len(own) == 1
    return own.iloc[0]


def test_the_spleen_with_three_points_rises_at_once(papers):
    # (0.9200 - 0.8944) / (0.9209 - 0.8944) = 0.966
    own = finding(papers, "uneven step")
    assert own["where"] == "SegAnyPET (3p), PET, Spleen"
    assert "97% of the rise at 3 points" in own["arithmetic"]


def test_the_heart_of_pet_mr_is_copied_from_nninteractive(papers):
    own = finding(papers, "which is the copy")
    assert "0.1430(0.2047)" in own["arithmetic"]
    assert own["arithmetic"].endswith("The copy is: UMD-PETMR, Heart, PET, SegAnyPET(1p).")


def test_one_subject_has_eleven_or_twelve_of_sats_ones(papers):
    # 13² (490 × 0.0440² + 21²/(13² × 490)) = 161.2: 11² + … or 12² + … over 21 ones.
    assert "11 to 12 of them in one subject" in finding(papers, "fullest subject")["arithmetic"]


def test_seven_of_260_pairs_change_their_order(papers):
    own = papers[papers["check"] == "reversed order"]
    assert (len(own), (own["grade"] == "note").sum()) == (260, 7)


def test_texts_captions_and_cohorts_that_do_not_fit_are_named(papers):
    bad = papers[papers["grade"] == "inconsistent"]
    text = " ".join(bad["arithmetic"])
    assert "11,041 + 886 + 1,551 = 13,478; printed 11,041." in text
    assert "points at Supplementary Table 1; in SegAnyPET's Table 1." in text
    assert "points at Supplementary Table 4; in SegAnyPET's Supplementary Table 3." in text
    assert "The caption's modality is CT, MR, the table's PET." in text
    assert "AutoPET-PSMA, external: LMU University Hospital, Munich; so is AutoPET-FDG" in text


def test_seganypets_medians_stand_beside_nnunets_averages(papers):
    own = papers[papers["check"].eq("reference") & papers["table"].str.startswith("SegAnyPET")]
    assert "nnU-Net's average on the same PET, of means, is 0.605." in own["arithmetic"].iloc[0]
    assert "is 0.560." in own["arithmetic"].iloc[1]


@pytest.mark.parametrize(
    ("function", "name", "query", "change"),
    [
        (audit.line_order, "read_captions", "key == 'order'", {"value": "CT,PET"}),
        (statements.captions, "read_captions", "name == 'seganypet_s3'", {"value": "dice"}),
        (
            statements.captions,
            "read_captions",
            "name == 'seganypet_s4' and key == 'modality'",
            {"value": "PET"},
        ),
        (statements.pointers, "read_pointers", "value == 'seconds'", {"pointed": "seganypet_s3"}),
        (
            statements.shared_centres,
            "read_centres",
            "role == 'external'",
            {"centre": "Elsewhere", "scanner": "Other"},
        ),
    ],
)
def test_no_finding_fires_whatever_the_data_say(monkeypatch, function, name, query, change):
    module = audit if function is audit.line_order else statements
    before = function()
    data = getattr(module, name)()
    data.loc[data.query(query).index, list(change)] = list(change.values())
    monkeypatch.setattr(module, name, lambda: data)
    after = function()
    assert (after["grade"] != "passed").sum() < (before["grade"] != "passed").sum()


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
    assert "387 + 1,060 = 1,447; printed 1,371." in own["arithmetic"].tolist()


def test_table_3_rounds_the_average_rows():
    assert (audit.overview()["grade"] == "passed").all()
    assert len(audit.overview()) == 20


def per_cent(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every number times 100."""
    cells = table.drop_duplicates(["line", "column"])
    rows = []
    for c in cells.to_dict("records"):
        mean, sd = (100 * float(v) for v in c["raw"].rstrip(")").split("("))
        rows.append({"structure": c["structure"], "raw": f"{mean:.2f}({sd:.2f})", "line": c["line"]})
    return records(rows).assign(unit="per cent")


def test_a_table_in_per_cent_is_as_sound_as_in_fractions():
    found = published.audit_table(per_cent(clean(12)), n=N)
    assert named(found) == set()
    assert len(found[found["check"] == "sd bound"]) == 7
    bad = published.audit_table(per_cent(plant(clean(12), 2, "0.5000(0.5020)")), n=N)
    assert ("sd bound", "impossible") in named(bad)


@pytest.mark.parametrize(
    ("metric", "unit", "raw", "bad"),
    [
        ("hd95", "mm", "12.30(9.10)", False),
        ("hd95", "mm", "8.30(120.00)", True),  # at most 8.3 × √200 = 117.4
        ("seconds", "s", "3.20(0.40)", False),
        ("rvd", "fraction", "-0.1000(0.3000)", False),
        ("something_new", "", "-5.0000(99.0000)", False),
    ],
)
def test_bounds_come_from_the_metric_and_the_unit(metric, unit, raw, bad):
    table = records([{"structure": "liver", "raw": raw, "metric": metric, "unit": unit}])
    found = published.audit_table(table, n=N)
    assert (found["grade"] == "impossible").any() == bad


def test_nan_is_no_violation():
    table = records([{"structure": "liver", "raw": "0.5 ± nan"}, {"structure": "spleen", "raw": "nan ± nan"}])
    assert published.audit_table(table, n=N)["grade"].isin(["passed"]).all()
    assert np.isnan(bounds.largest_sd(np.nan, n=10))


def test_two_digits_agree_by_chance_and_four_do_not():
    rng = np.random.default_rng(0)
    pairs = np.c_[rng.uniform(0.7, 0.9, 60), rng.uniform(0.05, 0.15, 60)]

    def printed(places):
        return [
            {"structure": f"s{i}", "raw": f"{m:.{places}f}({s:.{places}f})", "line": i + 1}
            for i, (m, s) in enumerate(pairs)
        ]

    cells = printed(2)
    assert len({c["raw"] for c in cells}) < 60  # some agree
    found = copies.copied_cells(checks.sized(records(cells), N))
    assert (found["grade"] == "note").any()
    assert not (found["grade"] == "suspect").any()
    four = printed(4)
    four[7]["raw"] = four[40]["raw"]
    found = copies.copied_cells(checks.sized(records(four), N))
    assert (found["grade"] == "suspect").sum() == 1


def test_an_even_series_raises_no_alarm():
    rng = np.random.default_rng(2)
    cells = []
    for i in range(12):
        low = rng.uniform(0.5, 0.8)
        for points, rise in ((1, 0), (3, 0.05 + rng.normal(0, 0.004)), (5, 0.1)):
            cells.append(
                {
                    "structure": f"s{i}",
                    "raw": f"{low + rise:.4f}",
                    "line": len(cells) + 1,
                    "prompt": f"{points} points",
                }
            )
    wide = checks.sized(records(cells), N)
    assert len(series.uneven_steps(wide)) == 12
    assert (series.uneven_steps(wide)["grade"] == "passed").all()
    assert series.uneven_steps(wide.iloc[:9]).empty  # three series are too few


def test_the_copy_is_left_open_where_no_mean_settles_it():
    quartiles = clean(9, quartiles=True)
    raw = quartiles[quartiles["line"] == 1]["raw"].iloc[0]
    twins = plant(quartiles, 4, raw)
    assert across.which_is_the_copy(clean(9).assign(segmenter="other"), twins, N).empty
    settled = across.which_is_the_copy(clean(9), twins, N)
    assert settled["arithmetic"].str.contains("The copy is: s3").all()
    assert len(settled) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_fullest_subject_is_found_from_the_sd(seed):
    rng = np.random.default_rng(seed)
    ones = rng.random((300, 8)) < 0.004
    ones[0] = rng.random(8) < 0.8
    average = ones.mean(axis=1)
    sd = round(float(average.std()), 5)
    low, high = bounds.fullest_subject(ones.sum(axis=0).tolist(), sd, n=300, half_unit=5e-6)
    assert low <= ones.sum(axis=1).max() <= high
