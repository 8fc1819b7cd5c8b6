"""What is measured from images must be what was put into them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from umdlib.cohort.manifest import read_cohort
from umdlib.images.volume import LabelMap, Volume, write_label_map, write_volume
from umdlib.synthetic import plausibility
from umdlib.synthetic.literature import SOURCES, source_table
from umdlib.synthetic.plausibility import (
    dome_shift_mm,
    edge_fwhm,
    interior,
    organ_table,
    physics_table,
    range_table,
    unlike,
)
from umdlib.synthetic.scanner.sampling import blur_to, grid_over, sample


@pytest.mark.parametrize("fwhm_mm", [5.0, 6.8, 8.0])
def test_edge_width_of_a_blurred_ball_is_its_point_spread(fwhm_mm):
    """A ball of 30 mm, 20 times its surroundings, on 4 mm voxels: within 5 %."""
    x = np.indices((101,) * 3) - 50.0
    ball = (np.sqrt((x**2).sum(axis=0)) < 30).astype(np.float32)
    grid = grid_over((0, 0, 0), (100, 100, 100), (4.07, 4.07, 4.0), (0.3, 0.2, 0.6))
    image = sample(blur_to(19 * ball + 1, 1.0, fwhm_mm), np.eye(4), grid)
    mask = sample(ball, np.eye(4), grid) > 0.5
    found = edge_fwhm(Volume(image, grid.affine, "SUV"), mask)
    assert found == pytest.approx(fwhm_mm, rel=0.05)


def test_edge_of_a_cold_or_missing_structure_is_not_a_number():
    image = Volume(np.ones((12, 12, 12), np.float32), np.diag([4.0, 4, 4, 1]), "SUV")
    mask = np.zeros(image.shape, bool)
    assert np.isnan(edge_fwhm(image, mask))
    mask[4:8, 4:8, 4:8] = True
    assert np.isnan(edge_fwhm(image, mask))


@pytest.mark.parametrize("shift", [-2, 0, 1])
def test_dome_shift_of_a_slab_is_what_it_was_moved_by(shift):
    """Liver (2 SUV) under lung (0.5 SUV) in slices of 4 mm, moved by whole slices."""
    labels = np.zeros((20, 20, 60), np.uint8)
    labels[:, :, 10:30], labels[:, :, 30:55] = 1, 8
    pet = np.where(np.arange(60) < 30 + shift, 2.0, 0.5) * np.ones((20, 20, 1))
    affine = np.diag([4.0, 4, 4, 1])
    found = dome_shift_mm(Volume(pet.astype(np.float32), affine, "SUV"), LabelMap(labels, affine), 1, 8)
    assert found == pytest.approx(4.0 * shift, abs=0.1)


def test_interior_leaves_the_outer_voxels_and_never_nothing():
    mask = np.zeros((12, 12, 12), bool)
    mask[1:11, 1:11, 1:11] = True
    assert interior(mask).sum() == 6**3
    thin = np.zeros_like(mask)
    thin[5, 5, :] = True
    assert interior(thin).sum() == 12


def own_cohort(folder):
    """One subject without stored truth, on a flipped grid."""
    affine = np.diag([-5.0, 5, 5, 1])
    affine[:3, 3] = [95, -50, -100]
    labels = np.zeros((40, 20, 40), np.uint8)
    labels[5:25, 4:16, 10:20], labels[5:25, 4:16, 20:36] = 1, 8
    rng = np.random.default_rng(0)
    lines = ["subject\tsession\tmodality\timage\treference\tunit"]
    for modality, unit, level in (("CT", "HU", 57), ("PET", "SUV", 2.2)):
        data = np.where(labels == 1, level, level / 4) + rng.normal(0, level / 20, labels.shape)
        write_volume(folder / f"{modality}.nii.gz", Volume(data.astype(np.float32), affine, unit))
        write_label_map(folder / f"{modality}_dseg.nii.gz", LabelMap(labels, affine))
        lines.append(f"p1\tpetct\t{modality}\t{modality}.nii.gz\t{modality}_dseg.nii.gz\t{unit}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return read_cohort(folder / "manifest.tsv")


def test_a_cohort_without_truth_is_measured_all_the_same(tmp_path):
    cohort = own_cohort(tmp_path)
    organs = organ_table(cohort.cases)
    liver = organs.query("structure == 'liver' and modality == 'PET'").iloc[0]
    assert liver["volume_ml"] == pytest.approx(20 * 12 * 10 * 0.125)
    assert liver["mean"] == pytest.approx(2.2, rel=0.02)
    assert organs.query("structure == 'spleen'")["mean"].isna().all()
    assert set(range_table(organs)["structure"]) == {"liver", "lung"}
    row = physics_table(cohort).iloc[0]
    assert row["liver_cov"] == pytest.approx(0.05, rel=0.15)
    assert np.isnan(row["liver_cov_planned"])
    assert np.isnan(row["fwhm_mm"])


def test_a_cohort_without_organs_has_no_ranges():
    lesions = pd.DataFrame(
        {
            "subject": ["sub-001"],
            "session": ["petct"],
            "modality": ["CT"],
            "unit": ["HU"],
            "structure": ["tumour"],
            "volume_ml": [12.0],
            "mean": [40.0],
            "sd": [5.0],
        }
    )
    assert plausibility.range_table(lesions).empty


def test_three_unlike_subjects_are_the_lightest_the_heaviest_and_one_between():
    def pair(subject, session):
        case = SimpleNamespace(subject=subject, session=session)
        return case, case

    sizes = {"a": 30, "b": 19, "c": 24, "d": 38, "e": 25}
    pairs = [pair(s, "petmr" if s in "ae" else "petct") for s in sizes]
    table = pd.DataFrame({"subject": sizes.keys(), "height_cm": "100", "weight_kg": map(str, sizes.values())})
    assert [p[0].subject for p in unlike(pairs, table)] == ["b", "a", "e"]
    assert [p[0].subject for p in unlike(pairs[1:4], table)] == ["b", "d", "c"]
    assert unlike(pairs, table.drop(columns="height_cm"), 2) == pairs[:2]
    table.loc[1, "weight_kg"] = "n/a"
    assert unlike(pairs, table, 9)[0][0].subject == "c"


def test_every_source_is_cited_and_used():
    table = source_table()
    assert set(table["source"]) == set(SOURCES)
    assert (table["used for"] != "").all()
    assert table["source"].iloc[-1] == "assumed"
