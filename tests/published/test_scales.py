"""Cells, scales and places of printed numbers: what each notation says, and what it cannot say."""

import math

import pytest

from umdlib.errors import InputError
from umdlib.published import figures, outcomes, parsing, scales, tolerance
from umdlib.published.printed import cells, read


@pytest.mark.parametrize(
    ("raw", "kind", "numbers"),
    [
        ("0.81 ± 0.05", "", {"mean": "0.81", "sd": "0.05"}),
        (r"$81.2\pm4.0$", "", {"mean": "81.2", "sd": "4.0"}),
        ("0.81 (SD 0.05)", "", {"mean": "0.81", "sd": "0.05"}),
        ("0.81 (0.05)", "median", {"median": "0.81", "iqr": "0.05"}),
        ("0.81 (0.70-0.90)", "", {"median": "0.81", "q1": "0.70", "q3": "0.90"}),
        ("0.81 (0.70-0.90)", "interval", {"mean": "0.81", "lower": "0.70", "upper": "0.90"}),
        ("0.81 [0.70, 0.90]", "", {"mean": "0.81", "lower": "0.70", "upper": "0.90"}),
        ("0.81 [0.70, 0.90]", "median", {"median": "0.81", "q1": "0.70", "q3": "0.90"}),
        ("0.81 (95% CI: 0.70–0.90)", "median", {"median": "0.81", "q1": "0.70", "q3": "0.90"}),
        ("0.81 (IQR 0.70 to 0.90)", "", {"median": "0.81", "q1": "0.70", "q3": "0.90"}),
        ("**1,234**", "", {"value": "1234"}),
        ("~0.55", "", {"value": "0.55"}),
        ("−0.12", "", {"value": "-0.12"}),
        ("3.2 mm", "", {"value": "3.2"}),
        ("n/a", "", {}),
        ("nan", "", {}),
    ],
)
def test_a_notation_says_what_its_numbers_are(raw, kind, numbers):
    assert dict(parsing.parse_cell(raw, kind=kind).numbers) == numbers


def test_a_per_cent_sign_counts_unless_it_is_that_of_the_interval():
    assert parsing.parse_cell("81.2 %").per_cent
    assert not parsing.parse_cell("0.81 (95% CI: 0.70-0.90)").per_cent
    with pytest.raises(InputError, match=r"Invalid cell 'good' in row 3. Must be 'mean\(SD\)'"):
        parsing.parse_cell("good", where="row 3")


@pytest.mark.parametrize(("printed", "half"), [("0.85", 0.005), ("85", 0.5), ("0.9000", 0.00005)])
def test_a_number_is_known_to_half_its_last_place(printed, half):
    assert parsing.half_unit(printed) == pytest.approx(half)
    assert outcomes.shown(float(printed), half) == printed


@pytest.mark.parametrize(
    ("metric", "unit", "ends"),
    [
        ("dice", "fraction", (0, 1)),
        ("dice", "per cent", (0, 100)),
        ("surface_dice_3mm", "per cent", (0, 100)),
        ("hd95", "mm", (0, math.inf)),
        ("rvd", "per cent", (-100, math.inf)),
        ("nonsense", "mm", (-math.inf, math.inf)),
    ],
)
def test_a_metric_has_its_range_in_its_unit(metric, unit, ends):
    assert scales.scale_of(metric, unit) == ends


@pytest.mark.parametrize(
    ("heading", "metric"),
    [
        ("Mean DSC (%)", "dice"),
        ("NSD", "surface_dice"),
        ("Surface Dice, 2 mm", "surface_dice"),
        ("95HD", "hd95"),
        ("mIoU", "iou"),
        ("Runtime", "seconds"),
        ("Loss", None),
    ],
)
def test_a_heading_names_its_metric_or_none(heading, metric):
    assert scales.metric_named(heading) == metric


def test_words_for_units_and_metrics_are_understood_or_refused_with_what_is_possible():
    assert scales.check_metric("F1") == "dice" and scales.check_unit("dice", "%") == scales.PER_CENT
    with pytest.raises(InputError) as error:
        scales.check_unit("hd95", "per cent")
    assert str(error.value) == "Invalid unit 'per cent' of hd95. Must be mm."
    with pytest.raises(InputError, match="Unknown metric 'dicee'. Did you mean 'dice'"):
        scales.check_metric("dicee")


def test_a_ball_of_half_the_surface_within_one_voxel_is_worked_out_by_hand():
    # |N(0, sd)| below 1 mm in half: sd = 1 / 0.6744898; mean distance sd √(2/π); radius of 1 l: 62.035 mm
    missing = 1 / 0.6744898 * math.sqrt(2 / math.pi) * 3 / 62.035049 / 2
    assert tolerance.dice_at_nsd(0.5, 1.0, 1000.0) == pytest.approx(1 - missing, rel=1e-6)
    assert tolerance.dice_at_nsd(0.01, 50.0, 1.0) == 0.0
    for wrong in ((1.0, 1, 1), (0.5, 0, 1), (0.5, 1, -1)):
        with pytest.raises(InputError, match="NSD must lie between 0 and 1, the others above 0"):
            tolerance.dice_at_nsd(*wrong)


def test_points_of_a_line_are_those_of_its_slices_or_its_prompt():
    """Three or five points on each of 15 to 30 slices, or one for the volume."""
    found = figures.prompt_effort(cells(read("seganypet_s3"))).drop_duplicates("prompt").set_index("prompt")
    numbers = found[["points_low", "points_high"]]
    assert numbers.to_dict("index") == {
        "3N points": {"points_low": 45, "points_high": 90},
        "5N points": {"points_low": 75, "points_high": 150},
        "1 point": {"points_low": 1, "points_high": 1},
    }
    assert found.loc["3N points", "points"] == pytest.approx(math.sqrt(45 * 90))
    assert found["low"].le(found["dice"]).all() and found["dice"].le(found["high"]).all()
