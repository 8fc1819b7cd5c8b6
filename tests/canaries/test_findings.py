"""Readings behind the thresholds in closed form, ceilings, and findings on disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from umdlib.canaries import checks, findings, simulation
from umdlib.errors import InputError


def slab(start, stop, shape=(12, 10, 8)):
    mask = np.zeros(shape, bool)
    mask[start:stop] = True
    return mask


def test_a_wiring_matrix_is_dice_of_all_with_all_and_undefined_where_both_are_empty():
    a, b, none = slab(0, 4), slab(2, 6), slab(0, 0)
    matrix = checks.wiring_matrix({"a": a, "b": b, "c": none}, {"a": a, "b": b, "c": none})
    np.testing.assert_allclose(matrix.loc["a"], [1, 0.5, 0])
    assert np.isnan(matrix.loc["c", "c"]) and matrix.loc["c", "a"] == 0


def test_a_gain_of_an_assignment_is_over_those_that_it_moves():
    """Two of three exchanged, at 0.2 where they stand and 0.8 where they fit: 0.6, whatever the third has."""
    names = ["a", "b", "c"]
    exchanged = pd.DataFrame([[0.2, 0.8, 0], [0.8, 0.2, 0], [0, 0, 0.9]], names, names)
    assert checks.swap_gain([exchanged]) == pytest.approx(0.6)
    assert checks.swap_gain([exchanged, exchanged]) == pytest.approx(0.6)
    right = pd.DataFrame(np.diag([0.9, 0.8, 0.7]), names, names)
    assert checks.swap_gain([right]) == 0
    assert checks.swap_gain([exchanged * 0.3]) == 0  # the best is poor too
    assert checks.swap_gain([pd.DataFrame(np.zeros((3, 3)), names, names)]) == 0
    assert checks.swap_gain([]) == 0


def test_readings_are_the_score_as_it_stands_and_of_the_best_turn():
    pairs = [(slab(8, 12), slab(0, 4))]
    assert checks.readings(pairs) == (0.0, 1.0)
    assert checks.readings([(slab(0, 4), slab(0, 4))])[0] == 1.0
    assert checks.readings([(slab(0, 0), slab(0, 4))]) == (0.0, 0.0)


def test_likeness_is_of_the_two_most_alike_masks_that_do_not_reach_into_both_references():
    references = [{"a": slab(0, 4), "b": slab(8, 12), "c": slab(5, 7)}]
    assert checks.likeness([references[0]], references) == 0
    same = [references[0] | {"b": slab(0, 4)}]
    assert checks.likeness(same, references) == 1
    leak = [{n: slab(0, 12) for n in "abc"}]
    assert checks.likeness(leak, references) == 0


def ceiling_rows(**changes):
    rows = {"segmenter": "s", "modality": "CT", "structure": ["liver", "lung"], "subject": ["u", "v"]}
    return pd.DataFrame(rows | {"dice": [0.80, 0.61], "ceiling": [0.80, 0.60]} | changes)


def test_a_score_above_its_ceiling_is_named_and_one_at_it_is_not():
    (finding,) = checks.check_ceilings(ceiling_rows(), "s", "CT")
    assert (finding.fault, finding.structure, finding.observed, finding.alternative) == (
        "above_ceiling",
        "lung",
        0.61,
        0.60,
    )
    assert finding.detail == (
        "1 of 2 scores exceed what its part of the image allows, most of all lung of v: 0.610 instead of at most 0.600."
    )
    for clean in (
        ceiling_rows(dice=[0.8 + 1e-9, 0.6]),
        ceiling_rows(ceiling=[np.nan, np.nan]),
        ceiling_rows().drop(columns="ceiling"),
    ):
        assert checks.check_ceilings(clean, "s") == []
    assert checks.check_ceilings(ceiling_rows(), "another") == []
    assert checks.check_ceilings(ceiling_rows(), "s", "PET") == []


def test_findings_come_back_as_they_were_written_and_words_are_said_once(tmp_path):
    assert findings.read(tmp_path).empty and list(findings.read(tmp_path).columns) == list(findings.COLUMNS)
    rows = [
        ("b", "CT", 2, "flipped", "d", "c"),
        ("b", "PET", 2, "flipped, dead_structure", "", ""),
        ("a", "CT", 1, "", "", ""),
    ]
    table = pd.DataFrame(rows, columns=findings.COLUMNS)
    findings.write(tmp_path, table)
    pd.testing.assert_frame_equal(findings.read(tmp_path), table)
    words = findings.flagged(findings.read(tmp_path))
    assert list(words) == ["b"]
    assert words["b"] == f"{checks.FAULTS['flipped']}; {checks.FAULTS['dead_structure']}"


def test_a_table_that_holds_no_findings_is_refused_by_its_columns(tmp_path):
    (tmp_path / findings.FILE).write_text("segmenter\tmodality\nx\tCT\n")
    with pytest.raises(InputError, match=r"canaries.tsv lacks the columns n_cases, faults, detail, control."):
        findings.read(tmp_path)


def test_a_crude_body_has_its_organs_where_they_are_named_and_its_kinds_do_what_they_say():
    rng = np.random.default_rng(1)
    body = simulation.body(rng)
    half = next(iter(body.values())).shape[0] / 2
    middle = {n: np.argwhere(m).mean(axis=0) for n, m in body.items()}
    assert middle["liver"][0] < half < middle["spleen"][0]
    assert middle["urinary_bladder"][2] < middle["liver"][2] < middle["brain"][2]
    for name, mask in body.items():
        assert (simulation.leaky(body, rng)[name] & mask).sum() == mask.sum()
        assert not (simulation.shrunk(body, rng)[name] & ~mask).any()
        cut = simulation.cropped(body, rng)[name]
        assert cut.any() and not (cut & ~mask).any() and np.ptp(np.argwhere(cut), axis=0).max() <= 13
        assert np.array_equal(simulation.exact(body, rng)[name], mask)


def test_a_summary_shows_the_largest_distance_of_right_runs_and_the_smallest_of_wrong_ones():
    runs = pd.DataFrame(
        {
            "kind": ["k"] * 4,
            "wired": ["right", "right", "flip", "flip"],
            "alarms": ["", "", "flipped", "flipped, shifted"],
            "turned": [0.1, 0.3, 0.6, 0.9],
            "swapped": [0.0, 0.2, 0.1, 0.4],
            "alike": [0.5, 0.4, 0.3, 0.2],
        }
    )
    right, wrong = simulation.summary(runs).to_dict("records")
    assert (right["turned"], right["swapped"], right["alike"]) == (0.3, 0.2, 0.5)
    assert (wrong["turned"], wrong["swapped"], wrong["alike"]) == (0.6, 0.1, 0.2)
    assert (right["with an alarm"], right["named"]) == (0, "none")
    assert (wrong["runs"], wrong["with an alarm"], wrong["named"]) == (2, 2, "flipped, shifted")
