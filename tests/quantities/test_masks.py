"""Quantities against closed forms, published values and another program."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf

from umdlib import read_label_map, read_volume
from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.quantities.masks import Reading, quantify, sphere

FWHM_PER_SD = 2 * np.sqrt(2 * np.log(2))


def grid(shape, spacing):
    """World coordinates (mm) from the centre of a volume, one array an axis."""
    return np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij"
    )


def volume(data, spacing, unit="SUV"):
    return Volume(np.asarray(data, np.float32), np.diag([*spacing, 1.0]), unit)


def test_uniform_activity_is_read_off_as_it_is():
    x, y, z = grid((40, 40, 32), (2, 2, 2.5))
    ball = x**2 + y**2 + z**2 <= 25**2
    row = quantify(volume(np.where(ball, 4.0, 0.5), (2, 2, 2.5)), {"ball": ball}).loc["ball"]
    ml = ball.sum() * 10 / 1000
    assert row["ml"] == pytest.approx(ml) and row["ml"] == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.01)
    assert row[["suv_mean", "suv_max", "suv_peak"]].tolist() == [4, 4, 4]
    assert row["tlg"] == pytest.approx(4 * ml)
    assert np.isnan(row["hu_mean"])


def test_a_gradient_has_its_peak_at_the_last_voxel_of_the_mask():
    """The mean over a sphere inside the image is the value at its centre; the mean that of the box's centre."""
    x, _, _ = grid((30, 20, 20), (3, 3, 3))
    mask = np.zeros(x.shape, bool)
    mask[8:20, 5:15, 5:15] = True
    row = quantify(volume(10 + 0.1 * x, (3, 3, 3)), {"m": mask}).loc["m"]
    assert row["suv_mean"] == pytest.approx(10 + 0.1 * x[8:20].mean(), abs=1e-6)
    assert row["suv_max"] == pytest.approx(10 + 0.1 * x[19, 0, 0], abs=1e-6)
    assert row["suv_peak"] == pytest.approx(10 + 0.1 * x[19, 0, 0], abs=1e-5)


def test_a_blurred_ball_recovers_what_the_closed_form_says():
    """Centre of a ball of radius R after a Gaussian of sd s: erf(R/(√2 s)) − √(2/π) R/s exp(−R²/2s²)."""
    radius, fwhm, spacing = 10.0, 7.0, (1.0, 1.0, 1.0)
    x, y, z = grid((61, 61, 61), spacing)
    fine = np.clip(radius + 0.5 - np.sqrt(x**2 + y**2 + z**2), 0, 1)
    s = fwhm / FWHM_PER_SD
    image = ndimage.gaussian_filter(5 * fine, s)
    row = quantify(volume(image, spacing), {"ball": fine > 0.5}).loc["ball"]
    t = radius / s
    closed = 5 * (erf(t / np.sqrt(2)) - np.sqrt(2 / np.pi) * t * np.exp(-(t**2) / 2))
    assert row["suv_max"] == pytest.approx(closed, rel=0.005)
    assert row["suv_mean"] < row["suv_peak"] < row["suv_max"]


# Digital phantom of the Image Biomarker Standardisation Initiative (doi:10.1148/radiol.2020191145, CC BY 4.0).
IBSI = [
    [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [1, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 1, 1, 1], [1, 1, 9, 1, 1], [1, 1, 6, 1, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
]
OUTSIDE = [(0, 2, 1), (3, 0, 2), (4, 0, 2), (2, 2, 2), (3, 0, 3), (4, 0, 3)]


def test_the_phantom_of_ibsi_has_its_reference_values():
    """Mean 2.15, maximum 6, global intensity peak 3.1; 74 voxels of 8 mm³."""
    image = np.array(IBSI).transpose(2, 1, 0)
    mask = np.ones(image.shape, bool)
    mask[tuple(np.array(OUTSIDE).T)] = False
    row = quantify(volume(image, (2, 2, 2)), {"roi": mask}).loc["roi"]
    assert round(row["suv_mean"], 2) == 2.15 and row["suv_max"] == 6
    assert round(row["suv_peak"], 1) == 3.1
    assert row["ml"] == pytest.approx(0.592)


def test_another_program_reads_the_same():
    """SimpleITK's label statistics to 12 digits; the peak by its convolution with the sphere to 6."""
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(3)
    spacing = (3.0, 4.0, 5.0)
    image = ndimage.gaussian_filter(rng.gamma(2, 2, (24, 20, 18)), 1).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[6:14, 5:12, 5:13], labels[15:20, 8:15, 6:12] = 1, 2
    found = quantify(volume(image, spacing), {str(v): labels == v for v in (1, 2)})
    itk = sitk.GetImageFromArray(image.transpose(2, 1, 0).astype(float))
    itk.SetSpacing(spacing)
    mask = sitk.GetImageFromArray(labels.transpose(2, 1, 0))
    mask.SetSpacing(spacing)
    statistics = sitk.LabelStatisticsImageFilter()
    statistics.Execute(itk, mask)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    offsets = sphere(spacing)
    kernel = np.zeros(2 * np.abs(offsets).max(axis=0) + 1)
    kernel[tuple((offsets + np.abs(offsets).max(axis=0)).T)] = 1
    convolved = sitk.Convolution(itk, sitk.GetImageFromArray(kernel.transpose(2, 1, 0)), True)
    for v in (1, 2):
        row = found.loc[str(v)]
        assert row["suv_mean"] == pytest.approx(statistics.GetMean(v), rel=1e-12)
        assert row["suv_max"] == statistics.GetMaximum(v)
        assert row["ml"] == pytest.approx(shape.GetPhysicalSize(v) / 1000, rel=1e-12)
        means = sitk.GetArrayFromImage(convolved).transpose(2, 1, 0)[labels == v]
        assert row["suv_peak"] == pytest.approx(means.max(), rel=1e-6)


@pytest.mark.parametrize("subject", ["STS_001", "STS_033", "STS_051"])
def test_another_program_reads_the_same_of_a_real_tumour(shared, subject):
    """SimpleITK on PET images of the IBSI's soft-tissue sarcomas: mean and maximum to 12 digits, volume to 8.

    Its volume takes the header's float32 spacing as it is; here 3.2699999809 mm is the 3.27 mm that was written.
    """
    sitk = pytest.importorskip("SimpleITK")
    image, mask = (shared / "real" / "ibsi_sts" / subject / f"PET_{n}.nii.gz" for n in ("image", "mask"))
    pet, tumour = read_volume(image), read_label_map(mask)
    row = quantify(Volume(pet.data, pet.affine, "SUV"), {"tumour": tumour.data > 0}).loc["tumour"]
    other = sitk.Cast(sitk.ReadImage(str(mask)) > 0, sitk.sitkUInt8)
    values = sitk.Cast(sitk.ReadImage(str(image)), sitk.sitkFloat64)
    other.CopyInformation(values)
    statistics, shape = sitk.LabelStatisticsImageFilter(), sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(values, other)
    shape.Execute(other)
    assert row["suv_mean"] == pytest.approx(statistics.GetMean(1), rel=1e-12)
    assert row["suv_max"] == statistics.GetMaximum(1)
    assert row["ml"] == pytest.approx(shape.GetPhysicalSize(1) / 1000, rel=1e-8)
    assert row["tlg"] == pytest.approx(
        statistics.GetSum(1) * shape.GetPhysicalSize(1) / statistics.GetCount(1) / 1000
    )


def test_neither_the_order_in_memory_nor_a_flipped_axis_changes_a_quantity():
    rng = np.random.default_rng(1)
    image, mask = rng.random((11, 12, 13), np.float32), rng.random((11, 12, 13)) < 0.2
    first = quantify(volume(image, (2, 3, 4)), {"m": mask})
    others = [
        (np.asfortranarray(image), mask),
        (image, np.asfortranarray(mask)),
        (image[::-1], mask[::-1]),
        (image[:, ::-1, ::-1], mask[:, ::-1, ::-1]),
    ]
    for data, other in others:
        again = quantify(volume(data, (2, 3, 4)), {"m": other})
        np.testing.assert_allclose(again, first, rtol=1e-6)


def test_a_sphere_at_the_border_is_the_part_inside():
    image = np.arange(27, dtype=float).reshape(3, 3, 3)
    mask = np.zeros((3, 3, 3), bool)
    mask[2, 2, 2] = True
    inside = [26, 25, 23, 17, 22, 14, 16]  # within 6.2 mm of the corner on a grid of 4 mm: 1 + 3 + 3 voxels
    row = quantify(volume(image, (4, 4, 4)), {"m": mask}).loc["m"]
    assert row["suv_peak"] == pytest.approx(np.mean(inside))


def test_what_an_image_does_not_say_is_no_number():
    data, mask = np.ones((6, 6, 6)), np.ones((6, 6, 6), bool)
    ct = quantify(volume(40 * data, (1, 1, 1), "HU"), {"m": mask, "none": ~mask})
    assert ct.loc["m", "hu_mean"] == 40 and ct.loc["m", ["suv_mean", "tlg"]].isna().all()
    assert ct.loc["none", "ml"] == 0 and ct.loc["none"].drop("ml").isna().all()
    mr = quantify(volume(data, (1, 1, 1), "a.u."), {"m": mask}).loc["m"]
    assert mr["ml"] == pytest.approx(0.216) and mr.drop("ml").isna().all()


def test_masks_of_one_volume_may_overlap_and_share_what_was_computed():
    rng = np.random.default_rng(2)
    image = volume(rng.random((12, 12, 12)), (3, 3, 3))
    masks = [rng.random((12, 12, 12)) < 0.3 for _ in range(3)]
    bits = sum(m.astype(np.uint8) << n for n, m in enumerate(masks))
    reading = Reading(image)
    together = [reading.of_bits(bits, 3) for _ in range(2)]
    alone = quantify(image, dict(zip("abc", masks, strict=True)))
    for table in together:
        np.testing.assert_array_equal(table, alone)


def test_masks_of_another_grid_are_refused():
    reading = Reading(volume(np.ones((4, 4, 4)), (1, 1, 1)))
    with pytest.raises(InputError, match=r"\(4, 4, 5\).*one grid"):
        reading.of_bits(np.zeros((4, 4, 5), np.uint8), 1)
    with pytest.raises(InputError, match="int64"):
        reading.of_bits(np.zeros((4, 4, 4), np.int64), 1)
