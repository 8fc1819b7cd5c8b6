"""Canaries: each planted fault is named, and clean runs raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from umdlib.canaries import checks as canaries
from umdlib.canaries import simulation

SHAPE = (30, 24, 36)
# asymmetric body: no flip of one organ lands on another
CENTRES = {
    "liver": (8, 9, 12, 5),
    "spleen": (22, 8, 13, 3),
    "kidney_left": (21, 17, 17, 3),
    "kidney_right": (9, 18, 19, 3),
    "brain": (13, 11, 31, 4),
    "bladder": (16, 14, 4, 3),
}


def ball(centre, radius) -> np.ndarray:
    grid = np.indices(SHAPE)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def subject(rng) -> dict[str, np.ndarray]:
    """References of one subject: balls that move and grow a little."""
    return {
        name: ball(np.add(c, rng.normal(0, 0.8, 3)), r + rng.normal(0, 0.3))
        for name, (*c, r) in CENTRES.items()
    }


def predicted(references, rng, quality=1.0) -> dict[str, np.ndarray]:
    """A working segmenter's masks: shifted by up to a voxel, grown or shrunk, sometimes lost."""
    masks = {}
    for name, mask in references.items():
        moved = ndimage.shift(mask.astype(float), rng.normal(0, 0.6, 3), order=1) > rng.uniform(0.3, 0.7)
        masks[name] = np.zeros_like(mask) if rng.random() > quality else moved
    return masks


def run(rng, subjects=4, quality=1.0):
    references = [subject(rng) for _ in range(subjects)]
    return [predicted(r, rng, quality) for r in references], references


def faults(predictions, references) -> set[str]:
    return {f.fault for f in canaries.check_masks(predictions, references, "x")}


def test_no_alarm_on_100_clean_runs():
    alarms = [canaries.check_masks(*run(np.random.default_rng(s), 2), "clean") for s in range(100)]
    assert sum(map(len, alarms)) == 0


def test_a_poor_segmenter_is_not_called_miswired():
    """Four masks in ten lost: only a structure that is lost in every subject may be called dead."""
    found = [canaries.check_masks(*run(np.random.default_rng(s), 3, 0.6), "x") for s in range(60)]
    assert {f.fault for run_ in found for f in run_} <= {"dead_structure"}


def test_what_chance_explains_is_not_called_dead():
    """Two subjects and a system that misses every third mask: a structure lost twice says nothing."""
    predictions, references = run(np.random.default_rng(21), subjects=2)
    for name in ("spleen", "brain"):
        predictions[0][name] = np.zeros(SHAPE, bool)
    for name in ("spleen", "liver"):
        predictions[1][name] = np.zeros(SHAPE, bool)
    assert faults(predictions, references) == set()
    steady, references = run(np.random.default_rng(22), subjects=4)
    for p in steady:
        p["spleen"] = np.zeros(SHAPE, bool)
    assert faults(steady, references) == {"dead_structure"}


@pytest.mark.slow
def test_no_alarm_on_70_clean_runs_of_seven_kinds_and_every_fault_is_named():
    runs = simulation.simulate(n_runs=10, seed=5)
    clean, wrong = runs[runs["wired"].eq("right")], runs[runs["wired"].ne("right")]
    assert len(clean) == 70
    assert clean.loc[clean["alarms"].ne(""), ["kind", "alarms"]].empty
    named = {
        "own label values as class ids": "swapped_structures",
        "untrained super-classes": "dead_structure",
        "crop offset lost": "shifted",
        "left and right flipped": "flipped",
        "no weights loaded": "always_empty",
    }
    for fault, name in named.items():
        part = wrong.loc[wrong["wired"].eq(fault), "alarms"]
        assert len(part) == 10
        assert part.str.contains(name).all(), (fault, part.unique())


def test_a_mask_beside_its_reference_is_missed_and_not_dead():
    """A thin structure that a working segmenter never hits by a voxel or two."""
    predictions, references = run(np.random.default_rng(4), subjects=3)
    for p, r in zip(predictions, references, strict=True):
        r["esophagus"] = np.zeros(SHAPE, bool)
        r["esophagus"][15, 12, 8:28] = True
        p["esophagus"] = np.roll(r["esophagus"], 2, axis=0)
    assert faults(predictions, references) == set()
    for p in predictions:
        p["esophagus"] = np.roll(p["esophagus"], 3, axis=0)
    assert faults(predictions, references) == {"dead_structure"}


def test_thresholds_lie_between_clean_runs_and_miswired_ones():
    table = simulation.summary(simulation.simulate(n_runs=2, seed=1)).set_index(["segmenter", "wired"])
    right = table.xs("right", level="wired")
    assert right[["turned", "swapped"]].to_numpy().max() < canaries.CLEARLY
    assert right["alike"].max() < canaries.SAME
    assert table.loc[("uneven", "left and right flipped"), "turned"] > canaries.CLEARLY
    assert table.loc[("uneven", "crop offset lost"), "turned"] > canaries.CLEARLY
    assert table.loc[("uneven", "own label values as class ids"), "swapped"] > canaries.CLEARLY


def test_swapped_kidneys_are_named():
    predictions, references = run(np.random.default_rng(1))
    for p in predictions:
        p["kidney_left"], p["kidney_right"] = p["kidney_right"], p["kidney_left"]
    (finding,) = canaries.check_masks(predictions, references, "x")
    assert finding.fault == "swapped_structures"
    assert finding.structure == "kidney_left → kidney_right, kidney_right → kidney_left"


def test_shifted_class_ids_are_a_swap():
    predictions, references = run(np.random.default_rng(2))
    names = list(CENTRES)
    wrong = [dict(zip(names, [p[n] for n in [*names[1:], names[0]]], strict=True)) for p in predictions]
    assert faults(wrong, references) == {"swapped_structures"}


def test_one_mask_for_all_is_named():
    predictions, references = run(np.random.default_rng(3))
    wrong = [dict.fromkeys(p, p["liver"]) for p in predictions]
    assert faults(wrong, references) == {"one_mask"}


def test_two_neighbours_in_one_leak_raise_no_alarm():
    predictions, references = run(np.random.default_rng(11))
    for p, r in zip(predictions, references, strict=True):
        p["liver"] = p["kidney_right"] = r["liver"] | r["kidney_right"]
    assert faults(predictions, references) == set()


def test_a_leak_is_poor_and_not_dead():
    predictions, references = run(np.random.default_rng(12))
    for p in predictions:
        p["bladder"] = np.zeros(SHAPE, bool)
        p["bladder"][:, :, 22:] = True
    assert faults(predictions, references) == set()


def test_a_dead_structure_is_named():
    predictions, references = run(np.random.default_rng(4))
    for p in predictions:
        p["spleen"] = np.zeros(SHAPE, bool)
    (finding,) = canaries.check_masks(predictions, references, "x")
    assert (finding.fault, finding.structure) == ("dead_structure", "spleen")


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_flips_are_named(axes):
    predictions, references = run(np.random.default_rng(5))
    wrong = [{n: np.flip(m, axes) for n, m in p.items()} for p in predictions]
    (finding,) = canaries.check_masks(wrong, references, "x")
    assert finding.fault == "flipped"
    assert ", ".join("IJK"[a] for a in axes) in finding.detail


def test_permuted_axes_are_named_on_a_cube():
    rng = np.random.default_rng(6)
    cube = [
        (np.pad(p[n], [(0, 36 - s) for s in SHAPE]), np.pad(r[n], [(0, 36 - s) for s in SHAPE]))
        for p, r in zip(*run(rng), strict=True)
        for n in r
    ]
    wrong = [(p.transpose(2, 1, 0), r) for p, r in cube]
    (finding,) = canaries.check_orientation(wrong, "x")
    assert finding.fault == "permuted_axes"


def test_a_lost_crop_offset_is_a_shift():
    predictions, references = run(np.random.default_rng(7))
    wrong = [{n: np.roll(m, (-4, -3, -5), (0, 1, 2)) for n, m in p.items()} for p in predictions]
    (finding,) = canaries.check_masks(wrong, references, "x")
    assert finding.fault == "shifted"
    assert "(4, 3, 5)" in finding.detail


def test_control_out_of_tolerance_and_nan_are_missed():
    assert canaries.check_control(0.90, 0.91, 0.02, "x", "liver") == []
    assert canaries.check_control(0.80, 0.91, 0.02, "x", "liver")[0].fault == "control_missed"
    assert canaries.check_control(float("nan"), 0.91, 0.02, "x", "liver")[0].fault == "control_missed"


def test_empty_masks_everywhere_are_named_and_nothing_else_is():
    references = [subject(np.random.default_rng(9))]
    empty = [{n: np.zeros(SHAPE, bool) for n in CENTRES}]
    assert faults(empty, references) == {"always_empty"}


def test_absent_references_take_no_part():
    predictions, references = run(np.random.default_rng(10))
    for p, r in zip(predictions, references, strict=True):
        r["bladder"] = np.zeros(SHAPE, bool)
        p["bladder"] = np.zeros(SHAPE, bool)
    assert faults(predictions, references) == set()


def test_table_names_the_fault_in_words_and_flags():
    finding = canaries.Finding("vista3d", "dead_structure", "spleen", "CT")
    table = canaries.to_table([finding])
    assert table.loc[0, "meaning"] == canaries.FAULTS["dead_structure"]
    assert canaries.flagged(table) == {"vista3d": ("dead_structure",)}
    assert canaries.flagged([]) == {}
    none = canaries.to_table([])
    assert none.empty and list(none.columns) == list(table.columns)
