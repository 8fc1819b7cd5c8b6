"""Headers that programs read differently: read as the standard says, or refused in a sentence."""

import nibabel as nib
import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images import volume

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2, 0, -40], [0, 0, 3, 5], [0, 0, 0, 1]])
SHAPE = (9, 8, 7)


def written(tmp_path, **fields):
    """A sound file whose header fields are then set to `fields`."""
    header = nib.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.int16)
    header.set_xyzt_units("mm")
    header.set_sform(AFFINE, 1)
    header.set_qform(AFFINE, 1)
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    for name, value in fields.items():
        header[name] = value
    path = tmp_path / "image.nii"
    data = np.arange(np.prod(SHAPE), dtype=np.int16).tobytes()
    path.write_bytes(header.binaryblock + bytes(4) + data)
    return path


@pytest.mark.parametrize(("unit", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (11, 0.001)])
def test_lengths_are_read_in_their_unit(tmp_path, unit, factor):
    affine = AFFINE.copy()
    affine[:3] /= factor
    rows = {f"srow_{a}": affine[n] for n, a in enumerate("xyz")}
    pixdim = [1, *np.array([2, 2, 3]) / factor, 0, 0, 0, 0]
    path = written(tmp_path, xyzt_units=unit, qform_code=0, pixdim=pixdim, **rows)
    np.testing.assert_allclose(volume.read_volume(path).affine, AFFINE, rtol=1e-6)
    assert volume.read_volume(path).spacing_mm == pytest.approx((2, 2, 3))


def test_a_qform_is_taken_where_the_sform_holds_nothing(tmp_path):
    zero = {f"srow_{a}": [0, 0, 0, 0] for a in "xyz"}
    np.testing.assert_allclose(volume.read_volume(written(tmp_path, **zero)).affine, AFFINE, atol=1e-5)


def test_the_qform_is_nibabels(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(50):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3] = np.c_[turn * [1.5, 2, 4], rng.normal(0, 200, 3)]
        header = nib.Nifti1Header()
        header.set_qform(affine, 1)
        fields = {f: header[f] for f in ("quatern_b", "quatern_c", "quatern_d", "pixdim")}
        fields |= {f"qoffset_{a}": header[f"qoffset_{a}"] for a in "xyz"}
        found = volume.read_volume(written(tmp_path, sform_code=0, **fields)).affine
        np.testing.assert_allclose(found, affine, atol=1e-3)


def test_a_quaternion_that_rounding_made_too_long_is_one(tmp_path):
    turn = {"quatern_b": 1.0000005, "quatern_c": 0, "quatern_d": 0, "pixdim": [1, 2, 2, 3, 0, 0, 0, 0]}
    path = written(tmp_path, sform_code=0, **turn)
    found = volume.read_volume(path).affine
    np.testing.assert_allclose(found[:3, :3], np.diag([2.0, -2, -3]), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"srow_x": [-2, 0, 0, 55]}, r"sform and qform .* 25 mm \(12.5 voxels\) apart, at most 0.5"),
        ({"srow_x": [2, 0, 0, 14]}, r"sform and qform .* 16 mm"),
        ({"qform_code": 0, "pixdim": [1, 1, 2, 3, 0, 0, 0, 0]}, r"sform and pixdim .* \(4 voxels\) apart"),
        ({"sform_code": 0, "qform_code": 0}, "sform_code and qform_code are 0"),
        (
            {"sform_code": 0, "pixdim": [1, -2, 2, 3, 0, 0, 0, 0]},
            r"Voxel sizes .* are negative \(pixdim \[-2.0",
        ),
        ({"sform_code": 0, "quatern_b": 7}, "cannot be inverted"),
        ({"srow_x": [0, 0, 0, 0], "qform_code": 0}, "cannot be inverted"),
        ({"srow_x": [np.nan, 0, 0, 0], "qform_code": 0}, "cannot be inverted"),
        ({"xyzt_units": 1}, r"measure 2e\+03 x 2e\+03 x 3e\+03 mm. Must be 0.001 to 1000"),
        ({"xyzt_units": 5}, "unit 5"),
        ({"vox_offset": np.nan}, "begin at byte nan"),
        ({"vox_offset": np.inf}, "begin at byte inf"),
        ({"vox_offset": 200}, "begin at byte 200"),
        ({"vox_offset": -1}, "begin at byte -1"),
        ({"magic": b"ni1"}, r"header of a pair \(.hdr and .img\)"),
        ({"magic": b""}, "Analyze 7.5"),
        ({"datatype": 9999}, "no data type 9999"),
        ({"datatype": 32}, "holds complex64"),
        ({"dim": [3, 9, -8, 7, 1, 1, 1, 1]}, "three axes longer than 1"),
        (
            {"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]},
            "claims 54,000,000,000,000 bytes of voxels, more than its",
        ),
        ({"srow_x": [-2, 0, 0, 1e8], "qform_code": 0}, "Nothing is that far"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused_in_a_sentence(tmp_path, fields, said):
    with pytest.raises(InputError, match=said):
        volume.read_volume(written(tmp_path, **fields))


def test_an_sform_with_little_shear_agrees_with_its_qform(tmp_path):
    affine = AFFINE.copy()
    affine[1, 0] = 0.006
    header = nib.Nifti1Header()
    header.set_qform(affine, 1, strip_shears=True)
    fields = {f: header[f] for f in ("quatern_b", "quatern_c", "quatern_d", "pixdim")}
    rows = {f"srow_{a}": affine[n] for n, a in enumerate("xyz")}
    np.testing.assert_allclose(
        volume.read_volume(written(tmp_path, **fields, **rows)).affine, affine, rtol=1e-6
    )


def test_negative_voxel_sizes_do_not_matter_beside_an_sform(tmp_path):
    path = written(tmp_path, qform_code=0, pixdim=[1, -2, 2, 3, 0, 0, 0, 0])
    np.testing.assert_array_equal(volume.read_volume(path).affine, AFFINE)
