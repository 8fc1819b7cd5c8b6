"""Steps of a series, copies, orders and units on small tables: a planted fault and its clean twin."""

import pytest
from published_help import records

from umdlib.published import audit_table, checks, copies, series, statements
from umdlib.published.outcomes import outcomes, place, severe_first
from umdlib.published.report import audit_report, is_sound

N = {"C": 50}


def clicks(spoiled=None):
    """Medians of eight structures with 1, 3 and 5 points, the middle one at 60 % of the rise."""
    rows = []
    for i in range(8):
        first, last = 0.3000 + 0.02 * i, 0.8000 + 0.01 * i
        for points, share in ((1, 0.0), (3, 0.6 + 0.01 * (i % 3)), (5, 1.0)):
            if (i, points) == spoiled:
                share = 0.98
            middle = first + share * (last - first)
            raw = f"{middle:.4f} ({middle - 0.1:.4f}-{middle + 0.1:.4f})"
            more = {
                "column": f"{points}p",
                "model": f"{points}p",
                "prompt": f"{points} points",
                "line": i + 1,
            }
            rows.append({"structure": f"organ {i}", "raw": raw, **more})
    return checks.sized(records(rows), N)


def test_a_step_that_takes_the_whole_rise_at_once_is_suspect_and_even_steps_are_not():
    assert (series.uneven_steps(clicks())["grade"] == "passed").all()
    found = series.uneven_steps(clicks((4, 3)))
    bad = found[found["grade"] == "suspect"]
    assert bad["where"].str.contains("organ 4").all() and len(bad) == 3  # centre, Q1 and Q3
    assert (
        "98% of the rise at 3 points; the other 23 of the table reach 60% to 98%" in bad["arithmetic"].iloc[0]
    )


def test_too_few_steps_are_no_rule():
    assert series.uneven_steps(clicks()[lambda t: t["line"] < 3]).empty


def column(*cells, unit="fraction", **more):
    names = ("liver", "spleen", "lung", "heart", "brain", "aorta", "colon", "stomach")
    rows = [{"structure": n, "raw": c, "unit": unit} | more for n, c in zip(names, cells, strict=False)]
    return checks.sized(records(rows), N)


CLEAN = ("0.8123(0.0911)", "0.7654(0.1022)", "0.6810(0.1207)", "0.9021(0.0409)", "0.5512(0.1833)")


def test_two_cells_alike_in_every_digit_are_copied_and_ones_that_differ_in_one_are_not():
    assert (copies.copied_cells(column(*CLEAN))["grade"] == "passed").all()
    near = copies.copied_cells(column(*CLEAN, "0.8124(0.0911)"))
    assert (near["grade"] == "passed").all()
    found = copies.copied_cells(column(*CLEAN, "0.8123(0.0911)"))
    (row,) = found[found["grade"] != "passed"].to_dict("records")
    assert row["grade"] == "suspect" and row["arithmetic"].startswith("All digits agree in: ")
    assert [place(c) for c in next(iter(copies.twins_of(column(*CLEAN, CLEAN[0]))))] == [
        "liver, CT, M",
        "aorta, CT, M",
    ]


@pytest.mark.parametrize("raw", ["0.0000(0.0000)", "0.0400(0.1960)", "0.8000"])
def test_cells_that_chance_makes_alike_are_not_called_copies(raw):
    # nothing; 2 of 50 subjects at one; no spread
    assert (copies.copied_cells(column(*CLEAN, raw, raw)).get("grade") == "passed").all()


def test_a_column_of_fractions_with_one_per_cent_names_both():
    found = checks.unit_mix(column("0.81(0.1)", "81(10)"))
    assert found["arithmetic"].tolist() == ["81(10) stand in column 'M' beside 0.81(0.1)."]
    assert checks.unit_mix(column("81(10)"))["arithmetic"].tolist() == [
        "81(10) stand in column 'M' of scores."
    ]
    assert checks.unit_mix(column("0.81(0.1)", "0.9(0.1)"))["grade"].tolist() == ["passed"]
    assert checks.unit_mix(column("81(10)", "90(5)", unit="per cent")).empty


def test_a_column_of_per_cent_names_the_fraction_that_has_lost_its_sign():
    found = checks.unit_mix(column("84.9 % ± 8.2 %", "0.84 ± 0.10", unit="per cent"))
    assert found["grade"].tolist() == ["inconsistent"]
    text = "0.84 ± 0.10 stand without a per cent sign in column 'M' beside 84.9 % ± 8.2 %."
    assert found["arithmetic"].tolist() == [text]
    clean = checks.unit_mix(column("84.9 % ± 8.2 %", "72.1 ± 9.0", "0.00 ± 0.00", unit="per cent"))
    assert clean["grade"].tolist() == ["passed"]


def test_a_value_outside_its_scale_and_a_negative_spread_are_impossible():
    grade = {
        c: checks.score_range(column(c))["grade"].item() for c in ("1.02(0.1)", "0.9 ± -0.1", "1.00(0.1)")
    }
    assert grade == {"1.02(0.1)": "impossible", "0.9 ± -0.1": "impossible", "1.00(0.1)": "passed"}
    found = checks.score_range(column("-2.0(1.0)", unit="mm", metric="hd95"))
    assert found["arithmetic"].item() == "A value of this metric and unit is 0 or more."
    assert checks.score_range(column("-2.0(1.0)", metric="something")).empty


def test_a_distance_has_a_largest_sd_too():
    # 50 distances with mean 2: one of 100 and 49 of 0 have (2 - 0) √50 = 14.14
    found = [checks.sd_bound(column(c, unit="mm", metric="hd95")) for c in ("2.00(14.10)", "2.00(14.20)")]
    assert [f["grade"].item() for f in found] == ["passed", "impossible"]
    assert "(2.00 - 0) × √50 = 14.1" in found[1]["arithmetic"].item()


def test_three_numbers_in_order_may_be_equal_and_may_not_fall():
    rows = column("0.5 (0.5-0.5)", "0.5 (0.4-0.6)", "0.3 (0.4-0.5)", "0.6 (0.4-0.5)")
    assert checks.quartile_order(rows)["grade"].tolist() == ["passed", "passed", "impossible", "impossible"]
    found = checks.interval_order(column("0.70 [0.75, 0.80]", "0.7 [0.7, 0.8]"))
    assert found["grade"].tolist() == ["inconsistent", "passed"]
    assert found["arithmetic"].iloc[0] == "0.75 ≤ 0.70 ≤ 0.80 must hold."


def test_an_average_weighted_by_the_subjects_of_each_row_is_no_fault():
    rows = [
        {"structure": s, "raw": r}
        for s, r in (("liver", "0.9000"), ("lung", "0.5000"), ("average", "0.8000"))
    ]
    table = records(rows)
    table["n"] = [30, 10, 40]
    assert checks.average_mean(checks.sized(table))["grade"].tolist() == ["passed"]  # (30·0.9 + 10·0.5) / 40
    table["n"] = [10, 30, 40]
    assert checks.average_mean(checks.sized(table))["check"].tolist() == ["average over others"]
    assert checks.average_mean(checks.sized(table), complete=True)["grade"].tolist() == ["inconsistent"]


def test_a_report_says_what_was_read_and_stands_by_grade():
    table = records(
        [{"structure": "liver", "raw": "0.5000(0.6000)"}, {"structure": "lung", "raw": "0.9(0.1)"}]
    )
    found = audit_table(table, n=N)
    text = audit_report(table, found)
    assert text.startswith("# Audit of Table 1\n") and not is_sound(found)
    assert "## Impossible: no data can print these numbers" in text and "`0.5000(0.6000)` (sd bound)" in text
    assert severe_first(found)["grade"].iloc[0] == "impossible"
    nothing = audit_report(table, outcomes([]))
    assert "0 tests: none could be made." in nothing and is_sound(outcomes([]))


@pytest.mark.parametrize(
    ("key", "where"),
    [("batch_global", "Global batch"), ("umd_masks", "UMD masks"), ("private_results", "Private cohorts")],
)
def test_a_number_that_a_text_gives_twice_must_be_one(monkeypatch, key, where):
    real = statements.fact
    grades = {}
    for shift in (0, 1000):
        monkeypatch.setattr(statements, "fact", lambda k, s=shift: real(k) + s * (k == key))
        found = statements.statements().set_index("where")
        grades[shift] = found[found.index.str.startswith(where)]["grade"].item()
    assert grades[1000] == "inconsistent"
    assert grades[0] == ("inconsistent" if key == "private_results" else "passed")
