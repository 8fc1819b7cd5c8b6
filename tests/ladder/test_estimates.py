"""What is estimated of a pair is what was planted in it, and what cannot be estimated is a reason."""

from dataclasses import replace

import ladder_phantom as phantom
import numpy as np
import pytest

from umdlib.images.geometry import resample
from umdlib.images.volume import LabelMap, Volume
from umdlib.ladder import estimates, point_spread
from umdlib.ladder.cells import degraded_cells
from umdlib.ladder.estimates import estimate_pair

SHIFT = (2.0, -3.0, 6.0)
SHIFTS = dict.fromkeys(phantom.BALLS, SHIFT) | {"brain": (0.0, 0.0, 0.0), "spleen": (-2.0, 1.0, 4.0)}


@pytest.fixture(scope="module")
def planted():
    pair = phantom.pair(fwhm=6.8, share=0.1, shifts=SHIFTS)
    return pair, estimate_pair(*pair, phantom.STRUCTURES)


def values(found, factor, quantity):
    rows = found.table[found.table["factor"].eq(factor) & found.table["quantity"].eq(quantity)]
    return rows.set_index("structure")["value"]


def test_the_point_spread_is_found_within_4_percent(planted):
    """Planted in closed form at the voxels' centres: what the labels' voxels add is not PET's."""
    _, found = planted
    assert values(found, "R", "fwhm")[""] == pytest.approx(6.8, rel=0.04)
    assert found.table["how"].str.startswith("edges of").any()


@pytest.mark.parametrize(("spacing", "fwhm"), [(3.0, 6.8), (4.5, 6.0), (4.65, 5.0)])
def test_a_blur_is_as_wide_as_it_says_however_coarse_the_voxels(spacing, fwhm):
    """Second moment of an edge that is read between voxels, about where it is, mean over where that is."""
    places, moments = np.arange(0, 63, 0.05), []
    for edge in np.arange(31, 32, 0.1) + 0.05:
        step = np.broadcast_to((np.arange(64) > edge).astype(np.float32)[:, None, None], (64, 3, 3))
        wide = point_spread.widened(step, (spacing,) * 3, fwhm, sampled=True)
        slope = np.diff(np.interp(places, np.arange(64), wide[:, 1, 1]))
        moments.append((slope * (places[:-1] + 0.025 - edge) ** 2).sum())
    assert np.mean(moments) ** 0.5 * spacing * phantom.FWHM_PER_SD == pytest.approx(fwhm, rel=0.01)


def test_a_blur_that_is_not_sampled_is_as_wide_as_it_says():
    point = np.zeros((25, 3, 3), np.float32)
    point[12] = 1
    wide = point_spread.widened(point, (4.5,) * 3, 4.0)[:, 1, 1]
    width = (wide @ (np.arange(25) - 12.0) ** 2) ** 0.5 * 4.5 * phantom.FWHM_PER_SD
    assert width == pytest.approx(4.0, rel=0.01)
    assert point_spread.widened(point, (4.5,) * 3, 0.0) is point


@pytest.mark.parametrize("spacing", [3.0, 4.0])
def test_a_blurred_structural_image_is_its_own_model_however_uneven_it_is(spacing):
    """Regions of one mean each would read another width, displacements and other means."""
    (ct, labels), _ = phantom.pair()
    uneven = 60 * phantom.noise(ct.shape, 3.0, np.random.default_rng(1), 15.0)
    ct = replace(ct, data=(ct.data + uneven).astype(np.float32))
    affine, shape = phantom.grid(spacing, 1.3 if spacing != 3.0 else 0.0)
    spread = point_spread.widened(ct.data, ct.spacing_mm, 8.0, sampled=spacing != 3.0)
    pet = Volume(resample(spread, ct.affine, affine, shape, order=1, fill=40), affine, "HU")
    found = estimate_pair((ct, labels), (pet, phantom.labels(affine, shape)), phantom.STRUCTURES)
    assert found.made_of.fwhm_mm == pytest.approx(8.0, rel=0.01)
    assert found.made_of.displacement is None
    assert np.array_equal(found.made_of.pet_means, found.made_of.regions.means)


def test_displacements_are_found_within_2_mm(planted):
    _, found = planted
    for place, axis in enumerate("xyz"):
        moved = values(found, "A", f"displacement {axis}")
        for name, shift in SHIFTS.items():
            assert abs(moved[name] - shift[place]) < 2.0, (name, axis)
    assert found.made_of.displacement is not None


def test_noise_is_found_within_15_percent(planted):
    _, found = planted
    assert values(found, "N", "sd over mean")[""] == pytest.approx(0.1, rel=0.15)
    assert values(found, "N", "correlation")[""] == pytest.approx(5.0, rel=0.25)


def test_means_are_those_before_the_point_spread(planted):
    _, found = planted
    means = values(found, "C", "mean")
    for name, (_, _, _, suv) in phantom.BALLS.items():
        assert means[name] == pytest.approx(suv, rel=0.03), name
    assert means["soft tissue"] == pytest.approx(phantom.AROUND_SUV, rel=0.1)


def test_every_estimate_is_a_number_or_a_reason(planted):
    _, found = planted
    table = found.table
    assert (table["value"].notna() == table["reason"].eq("")).all() and not found.reasons


def test_a_pair_that_does_not_overlap_has_reasons_only(planted):
    (structural, (pet, labels)), _ = planted
    far = pet.affine.copy()
    far[:3, 3] += 5000
    found = estimate_pair(
        structural, (replace(pet, affine=far), replace(labels, affine=far)), phantom.STRUCTURES
    )
    assert found.table["value"].isna().all() and set(found.table["reason"]) == {estimates.NO_OVERLAP}
    assert found.why_not("liver", "R").endswith(estimates.NO_OVERLAP) and not found.why_not("liver", "none")


def test_an_image_one_slice_thin_and_a_pet_that_is_even_have_reasons_and_images():
    """Neither shows an edge along every axis: no displacement is read, and no number is not finite."""
    shape, affine = (24, 24, 1), np.diag([4.0, 4, 4, 1])
    data, values = np.full(shape, -50, np.float32), np.zeros(shape, np.uint8)
    data[5:11, 5:11], values[5:11, 5:11] = 60, 1
    thin, reference = Volume(data, affine, "HU"), LabelMap(values, affine)
    for pet in (np.full(shape, 2, np.float32), np.where(values, 3, 0.5).astype(np.float32)):
        pair = (thin, reference), (Volume(pet, affine, "SUV"), reference)
        found = estimate_pair(*pair, phantom.STRUCTURES)
        assert (
            estimates.FLAT in found.table.query("factor == 'A' and structure == 'liver'")["reason"].tolist()
        )
        assert all(np.isfinite(image.data).all() for _, image in degraded_cells(thin, found.made_of))


def test_an_mr_without_a_scale_has_reasons_only(planted):
    ((ct, labels), pet), _ = planted
    standardised = Volume(ct.data - ct.data.mean() - 200, ct.affine, "a.u.")
    found = estimate_pair((standardised, labels), pet, phantom.STRUCTURES)
    assert found.table["value"].isna().all() and "no scale" in found.table["reason"].iloc[0]


def test_absent_and_tiny_structures_have_a_reason_and_the_others_a_number(planted):
    (structural, (pet, labels)), _ = planted
    data = labels.data.copy()
    data[data == phantom.BY_NAME["spleen"].value] = 0
    kidney = np.argwhere(data == phantom.BY_NAME["kidney_left"].value)
    data[tuple(kidney[5:].T)] = 0
    found = estimate_pair(structural, (pet, LabelMap(data, labels.affine)), phantom.STRUCTURES)
    assert found.why_not("spleen", "C").endswith(estimates.ABSENT)
    assert found.why_not("kidney_left", "A").endswith(estimates.TOO_SMALL)
    assert not found.why_not("kidney_left", "R") and not found.why_not("liver", "R+N+C+A")
    assert not {"spleen", "kidney_left"} & set(values(found, "A", "displacement x").dropna().index)


def test_without_an_edge_the_headers_filter_is_taken_and_said(planted):
    (structural, (pet, labels)), _ = planted
    rng = np.random.default_rng(0)
    flat = Volume((3 + rng.normal(0, 1, pet.shape)).astype(np.float32), pet.affine, "SUV")
    none = estimate_pair(structural, (flat, labels), phantom.STRUCTURES)
    assert none.why_not("liver", "R").endswith(estimates.NO_EDGE)
    assert none.why_not("liver", "A").endswith(estimates.FLAT)
    said = estimate_pair(structural, (flat, labels), phantom.STRUCTURES, filter_mm=5.0)
    row = said.table[said.table["quantity"].eq("fwhm")].iloc[0]
    assert row["value"] == 5.0 and row["how"] == "the header's filter" and not said.why_not("liver", "R")


def test_without_a_uniform_region_there_is_no_noise(planted):
    (structural, (pet, labels)), _ = planted
    rng = np.random.default_rng(0)
    wild = Volume((pet.data * rng.lognormal(0, 1.5, pet.shape)).astype(np.float32), pet.affine, "SUV")
    found = estimate_pair(structural, (wild, labels), phantom.STRUCTURES)
    assert found.why_not("liver", "N").endswith(estimates.NO_UNIFORM)
