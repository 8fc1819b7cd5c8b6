"""What the chapter on the consequence of a gap says of hand-made tables."""

import pandas as pd

from umdbook.chapters import consequence as chapter

NAN = float("nan")


def limits(rows):
    columns = ["session", "segmenter", "structure", "bias", "low", "high", "why"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["quantity"] = "suv_mean"
    return table


def test_a_structure_is_within_the_band_only_with_both_limits():
    table = limits(
        [
            ("petct", "a", "liver", -2.0, -10.0, 6.0, ""),
            ("petct", "a", "spleen", 3.0, -4.0, 11.0, ""),  # the band ends at 10.8 %
            ("petct", "a", "brain", -5.0, NAN, NAN, ""),
        ]
    )
    words = chapter.limits_words(table)
    assert "1 of 2 structures have both limits within the band" in words
    assert "the largest bias is −5.0 % (brain)" in words
    few = chapter.limits_words(table.iloc[2:].copy())
    assert "too few subjects for limits; the largest bias is −5.0 %" in few
    none = limits([("petct", "a", "liver", NAN, NAN, NAN, "no prediction was kept")])
    assert chapter.limits_words(none).endswith(": no prediction was kept.")
    assert chapter.limits_words(none.iloc[:0]) == "Nothing was scored that has a quantity."


def test_a_band_is_said_with_its_source_or_its_absence():
    words = chapter.band_words("suv_mean")
    assert words.startswith("The band, −10.8 to +10.8 %") and "`paquet2004`" in words
    assert "there is no band" in chapter.band_words("tlg")


def test_a_poor_overlap_that_costs_little_stands_before_a_good_one_that_costs_much():
    def picked(dice, change):
        row = {"dice": dice, "structure": "liver", "segmenter": "a", "change": change}
        return pd.DataFrame([row])

    none = picked(0.5, 1.0).iloc[:0]
    words = chapter.picks_words(picked(0.5, -1.25), picked(0.9, 40.0), "suv_mean", 0.6, 0.8)
    first, second = words.split(". ")[:2]
    assert "A DSC of 0.500 (liver, " in first and "costs 1.2 % of" in first
    assert "A DSC of 0.900 (liver, " in second and "costs 40.0 %" in second
    words = chapter.picks_words(none, none, "suv_mean", 0.6, 0.8)
    assert "a DSC from 0.3 to 0.6." in words and "a DSC of 0.8 or more." in words
