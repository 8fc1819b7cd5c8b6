"""What the chapter on the consequence of a gap says of hand-made tables."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import consequence as chapter
from umdlib.errors import InputError

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
    assert "A DSC of 0.500 (liver, " in first and "goes with a change of −1.2 % of" in first
    assert "A DSC of 0.900 (liver, " in second and "goes with a change of +40.0 %" in second
    words = chapter.picks_words(none, none, "suv_mean", 0.6, 0.8)
    assert "a DSC from 0.3 to 0.6." in words and "a DSC of 0.8 or more." in words


def test_limits_have_intervals_a_share_where_a_band_is_known_and_a_reason():
    row = {
        "session": "petct",
        "segmenter": "threshold",
        "structure": "liver",
        "n_subjects": 5.0,
        "within": 0.8,
        "why": "",
    }
    row |= {"bias": -2.0, "bias_low": -3.0, "bias_high": -1.0, "low": -8.0, "low_low": NAN, "low_high": NAN}
    row |= {"high": NAN, "high_low": NAN, "high_high": NAN}
    table = pd.DataFrame([row, row | {"bias": NAN, "within": NAN, "why": "no prediction"}])
    shown = chapter.limits_layout(table)
    assert shown["bias [95 %]"].tolist() == ["−2.0 % [−3.0, −1.0]", "–"]
    assert shown["lower limit [95 %]"].iloc[0] == "−8.0 %" and shown["upper limit [95 %]"].iloc[0] == "–"
    assert shown["within the band"].tolist() == ["80 %", "–"] and shown["note"].tolist() == [
        "",
        "no prediction",
    ]
    assert shown[["segmenter", "structure", "n"]].iloc[0].tolist() == ["Threshold", "Liver", 5]
    whole = chapter.limits_layout(table.drop(columns="structure").assign(within=NAN))
    assert "structure" not in whole and "within the band" not in whole


def test_limits_are_lines_beside_each_other_over_the_band():
    rows = [("petct", s, "liver", bias, bias - 5, bias + 5, "") for s, bias in (("a", -2.0), ("b", 30.0))]
    ax = chapter.limits_plot(limits(rows))
    lines = [c for c in ax.collections if hasattr(c, "get_segments") and len(c.get_segments())]
    spans = [tuple(map(tuple, c.get_segments()[0])) for c in lines]
    assert [(low[0], high[0]) for low, high in spans] == [(-7.0, 3.0), (25.0, 35.0)]
    assert spans[0][0][1] == -spans[1][0][1] != 0  # one above, one below the middle of the row
    assert "−10" in [t.get_text() for t in ax.get_xticklabels()] and ax.get_xscale() == "symlog"
    assert [t.get_text() for t in ax.figure.legends[0].texts] == ["test-retest", "a", "b"]
    assert ax.get_xlabel() == "SUVmean of the prediction, % from the reference's"
    assert not chapter.limits_plot(limits([("petct", "a", "liver", NAN, NAN, NAN, "x")])).axison
    plt.close("all")


def test_an_unknown_quantity_is_refused_with_the_nearest():
    assert chapter.checked_quantity("tlg") == "tlg"
    with pytest.raises(InputError, match="suv_maen.*Did you mean 'suv_mean'"):
        chapter.checked_quantity("suv_maen")


def test_the_nearest_network_is_that_of_the_smallest_distance_or_the_first():
    table = pd.DataFrame({"session": "petct", "segmenter": ["a", "b", "c"], "distance": [NAN, 0.2, 0.1]})
    assert chapter.nearest(table, "petct") == "c"
    assert chapter.nearest(table.iloc[:1], "petct") == "a"
    assert chapter.nearest(table, "petmr") == ""


def test_distances_without_an_edge_say_why():
    row = {
        "session": "petct",
        "segmenter": "threshold",
        "distance": 0.25,
        "low": 0.125,
        "high": 0.5,
        "chance": 0.3,
    }
    table = pd.DataFrame([row | {"n_edges": 3, "n_subjects": 8}, row | {"n_edges": 0, "n_subjects": 2}])
    shown = chapter.distance_layout(table)
    assert shown["distance [95 %]"].tolist() == ["0.250 [0.125, 0.500]", "–"]
    assert shown["note"].tolist()[0] == "" and shown["note"].iloc[1].startswith("fewer than ")
    correlations = pd.DataFrame(
        {"session": ["petct"], "segmenter": "threshold", "rank_correlation": -0.5, "n_pairs": [9]}
    )
    assert chapter.correlation_layout(correlations).iloc[0].tolist() == ["PET/CT", "Threshold", "−0.50", 9]


def test_networks_are_of_the_run_where_it_has_subjects_and_else_of_the_benchmark():
    file = Path(chapter.__file__).parents[3] / "benchmarks" / "results" / "metabolic.parquet"
    larger, words = chapter.network_quantities(
        few := pd.DataFrame({"session": ["petct"], "subject": "a"}), str(file)
    )
    assert (
        "at most 1 subject in a session" in words and f"of {larger['subject'].nunique()} simulated" in words
    )
    assert larger["subject"].nunique() >= 16 and "`python benchmarks/metabolic.py`" in words
    assert chapter.network_quantities(few, "none.parquet")[0] is few
    enough = pd.DataFrame({"session": "petct", "subject": list("abcd")})
    assert chapter.network_quantities(enough, str(file))[0] is enough
    table = chapter.distance_table(larger, n_resamples=20)
    assert table["n_edges"].max() == 78
    near = (table["distance"] <= table["chance"]).sum()
    assert f"{near} of {table['distance'].notna().sum()} lie nearer" in chapter.distance_words(table)
    assert chapter.distance_words(table.iloc[:0]) == ""


def test_edges_fill_the_matrix_on_both_sides_and_the_sure_ones_have_a_dot():
    edges = pd.DataFrame(
        [
            ("liver", "spleen", 0.8, 0.4, 0.9),
            ("liver", "aorta", -0.1, -0.5, 0.3),
            ("spleen", "aorta", NAN, NAN, NAN),
        ],
        columns=["first", "second", "correlation", "low", "high"],
    )
    ax = plt.figure().add_subplot()
    chapter._network_plot(edges, ax, "references")
    mesh = ax.collections[0]
    matrix = np.ma.filled(mesh.get_array(), NAN).reshape(3, 3)
    assert matrix[0, 1] == matrix[1, 0] == 0.8 and matrix[0, 2] == matrix[2, 0] == -0.1
    assert np.isnan(matrix[1, 2]) and mesh.get_clim() == (-1, 1)
    assert [list(line.get_xdata()) for line in ax.lines] == [[0.5, 1.5]]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Liver", "Spleen", "Aorta"]
    plt.close("all")
