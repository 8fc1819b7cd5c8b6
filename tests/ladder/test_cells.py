"""Sixteen cells: exact identities, closed forms, and phantoms whose PET differs by one factor."""

import functools

import ladder_phantom as phantom
import numpy as np
import pytest
from scipy.ndimage import binary_erosion, center_of_mass
from scipy.optimize import brentq

from umdlib.images.grids import Grid
from umdlib.images.volume import LabelMap, Volume
from umdlib.ladder import regions
from umdlib.ladder.cells import CELLS, UNDONE, Degradations, degraded_cells, spread_displacement, undone_cells
from umdlib.ladder.estimates import estimate_pair
from umdlib.metrics.masks import dice
from umdlib.statistics import attribution

STRUCTURES = ("urinary_bladder", "spleen", "kidney_left")
SHIFTS = dict.fromkeys(phantom.BALLS, (2.0, -3.0, 6.0))


def climbed(pair, made_of, segment):
    """Shares of each structure, its residual and gap, of a segmenter ``(image, structure) -> mask``."""
    (ct, labels), (pet, reference) = pair
    images = [
        (c, i, reference if "R" in c and made_of.grid else labels) for c, i in degraded_cells(ct, made_of)
    ]
    images.append(("PET", pet, reference))
    scores = {n: {} for n in STRUCTURES}
    for cell, image, truth in images:
        for name in STRUCTURES:
            mask = segment(image, name)
            scores[name][cell] = dice(truth.data == phantom.BY_NAME[name].value, mask)
    worth = {n: np.array([s[c] for c in CELLS]) for n, s in scores.items()}
    return {
        n: (attribution.shapley_values(w), scores[n]["PET"] - w[-1], scores[n]["PET"] - w[0])
        for n, w in worth.items()
    }


@functools.cache
def near(name, spacing, offset, shape):
    """Voxels not far from a ball."""
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = offset
    centre, radius, *_ = phantom.BALLS[name]
    return np.linalg.norm(phantom.world(affine, shape) - centre, axis=-1) < radius + 12


def by_level(image, name):
    """Near a ball, what lies beyond 30 % of its contrast in HU; of PET half, or above 4.4, which the spleen lacks."""
    here = near(name, image.affine[0, 0], tuple(image.affine[:3, 3]), image.shape)
    if image.unit == "SUV":
        half = (phantom.BALLS[name][3] + phantom.AROUND_SUV) / 2
        return here & (image.data > (4.4 if name == "spleen" else half))
    top = phantom.BALLS[name][2]
    return here & ((image.data - phantom.AROUND_HU) / (top - phantom.AROUND_HU) > 0.3)


def test_what_is_the_identity_leaves_all_sixteen_images_as_they_are():
    (ct, _), _ = phantom.pair()
    assert all(image is ct for _, image in degraded_cells(ct, Degradations()))
    shares, rest, gap = climbed(phantom.pair(contrast=False), Degradations(), by_level)["spleen"]
    assert (shares == 0.0).all() and rest == gap == 0.0


@pytest.mark.parametrize(
    ("factor", "planted", "seeds"),
    [
        ("R", {"contrast": False, "fwhm": 9.0}, 1),
        ("N", {"contrast": False, "share": 0.03}, 3),
        ("C", {"contrast": True}, 1),
        ("A", {"contrast": False, "shifts": SHIFTS}, 1),
    ],
)
def test_a_pet_that_differs_by_one_factor_gives_it_95_percent(factor, planted, seeds):
    found = []
    for seed in range(seeds):
        pair = phantom.pair(**planted, seed=seed)
        made_of = estimate_pair(*pair, phantom.STRUCTURES).made_of
        found += climbed(pair, made_of, by_level).values()
    gap = np.mean([g for *_, g in found])
    shares = np.mean([s for s, *_ in found], axis=0)
    assert abs(gap) > 0.03
    assert shares["RNCA".index(factor)] / gap >= 0.95, (shares, gap)
    assert np.abs(np.delete(shares, "RNCA".index(factor))).max() <= 0.05 * abs(gap)


def test_a_segmenter_that_is_blind_to_intensity_has_no_gap_and_no_share():
    """On one grid, so that its mask is the same to the voxel."""
    pair = phantom.pair(fwhm=6.8, share=0.1, shifts=SHIFTS, spacing=None)
    made_of = estimate_pair(*pair, phantom.STRUCTURES).made_of
    assert made_of.noise_share > 0 and made_of.fwhm_mm > 0 and made_of.displacement is not None

    def blind(image, name):
        return near(name, image.affine[0, 0], tuple(image.affine[:3, 3]), image.shape)

    for shares, rest, gap in climbed(pair, made_of, blind).values():
        assert gap == 0.0 and rest == 0.0 and (shares == 0.0).all()


def test_a_threshold_is_matched_in_closed_form():
    """One ball: its blurred profile crosses the threshold at a radius that is known, then it is shifted."""
    affine, shape = phantom.grid(2.5)
    centre, radius, shift, low, high = np.array([0.0, 0.0, 0.0]), 30.0, (0.0, 0.0, 8.0), 0.0, 100.0
    r = np.linalg.norm(phantom.world(affine, shape) - centre, axis=-1)
    labels = LabelMap((r < radius).astype(np.uint8), affine)
    ct = Volume((low + (high - low) * phantom.blurred_ball(r, radius, 3.0)).astype(np.float32), affine, "HU")
    ball = phantom.BY_NAME["liver"].__class__(1, "ball", "Ball", "Ba", "#e69f00")
    parts = regions.regions_of(ct, labels, [ball])
    means = parts.means.copy()
    means[[0, 3]] = 10.0, 1.0  # ball, soft tissue around it
    extra = (9.0**2 - 3.0**2) ** 0.5
    made_of = Degradations(
        fwhm_mm=extra,
        regions=parts,
        pet_means=means,
        displacement=spread_displacement(labels.data, affine, {1: shift}),
    )
    share = {"HU": 0.3, "SUV": 0.15}  # of the height, where the threshold lies
    for cell, image in degraded_cells(ct, made_of):
        if "C" in cell and "R" not in cell:  # the regions' border is sharp in voxels: no closed form
            continue
        height = (1.0, 10.0) if image.unit == "SUV" else (low, high)
        t = height[0] + share[image.unit] * (height[1] - height[0])
        width = (9.0 if "C" not in cell else extra) if "R" in cell else 3.0
        crossing = brentq(
            lambda q, w=width, u=image.unit: phantom.blurred_ball(q, radius, w) - share[u], 20, 45
        )
        known = overlap_of_balls(radius, crossing, 8.0 if "A" in cell else 0.0)
        found = dice(labels.data == 1, np.asarray(image.data) > t)
        assert found == pytest.approx(known, abs=0.015), cell


def overlap_of_balls(a, b, d):
    """DSC of two balls whose centres lie d apart."""
    if d <= abs(a - b):
        common = min(a, b) ** 3 * 4 / 3
    else:
        common = (a + b - d) ** 2 * (d**2 + 2 * d * (a + b) - 3 * (a - b) ** 2) / (12 * d)
    return 2 * common / (4 / 3 * (a**3 + b**3))


def test_contrast_gives_each_region_pets_mean_and_keeps_its_texture():
    (ct, labels), (pet, _) = phantom.pair()
    parts = regions.regions_of(ct, labels, phantom.STRUCTURES)
    means = np.linspace(2, 6, len(parts.names))
    [(_, image)] = degraded_cells(ct, Degradations(regions=parts, pet_means=means), ["C"])
    assert image.unit == "SUV"
    for n, name in enumerate(parts.names):
        core = binary_erosion(parts.index == n + 1)  # a border is as wide as a voxel
        if core.any():
            assert image.data[core].mean() == pytest.approx(means[n], rel=0.03), name
    liver = labels.data == phantom.BY_NAME["liver"].value
    liver = binary_erosion(liver, iterations=3)
    assert np.corrcoef(image.data[liver], ct.data[liver])[0, 1] > 0.999


def test_pet_with_contrast_and_displacement_undone_has_structural_means_and_places():
    pair = phantom.pair(fwhm=6.8, shifts=SHIFTS)
    (ct, _), (pet, reference) = pair
    made_of = estimate_pair(*pair, phantom.STRUCTURES).made_of
    undone = dict(undone_cells(pet, made_of, ct))
    assert list(undone) == list(UNDONE) and undone["PET-A"].unit == "SUV"
    for name, (centre, radius, hu, _) in phantom.BALLS.items():
        core = np.linalg.norm(phantom.world(pet.affine, pet.shape) - centre, axis=-1) < radius - 10
        assert undone["PET-C+A"].data[core].mean() == pytest.approx(hu, abs=25), name
    hot = [np.array(center_of_mass(np.maximum(v.data - 6, 0))) for v in (undone["PET-A"], pet)]
    assert (hot[1] - hot[0]) * pet.spacing_mm == pytest.approx((2.0, -3.0, 6.0), abs=1.0)


def test_the_noise_of_a_pair_is_the_same_in_all_cells_of_a_grid():
    (ct, labels), (pet, _) = phantom.pair(fwhm=6.8)
    parts = regions.regions_of(ct, labels, phantom.STRUCTURES)
    made_of = Degradations(
        grid=Grid(pet.shape, pet.affine),
        noise_share=0.1,
        noise_fwhm_mm=5.0,
        noise_region="liver",
        regions=parts,
    )
    drawn = dict(degraded_cells(ct, made_of, name="a"))
    again = dict(degraded_cells(ct, made_of, ["R+N"], name="a"))
    assert np.array_equal(drawn["R+N"].data, again["R+N"].data)
    assert drawn["R"].shape == pet.shape and drawn["N"].shape == ct.shape
    other = dict(degraded_cells(ct, made_of, ["R+N"], name="b"))
    assert not np.array_equal(drawn["R+N"].data, other["R+N"].data)
