"""Reading and writing: nothing is lost, and what cannot be read says why."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from umdlib import volume
from umdlib.errors import InputError
from umdlib.volume import LabelMap, Volume

AFFINE = np.array([[-2, 0.1, 0, 30], [0.1, 2, 0, -40], [0, 0, 3, 5], [0, 0, 0, 1]])


def label_map(dtype=np.uint8):
    data = np.zeros((9, 8, 7), dtype, order="F")
    data[2:5, 3, 1:6] = 13
    return LabelMap(data, AFFINE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_label_map_comes_back_as_it_was(tmp_path, suffix, dtype):
    path = tmp_path / f"labels{suffix}"
    original = label_map(dtype)
    original.data[0, 0, 0] = np.iinfo(dtype).max
    volume.write_label_map(path, original)
    back = volume.read_label_map(path)
    assert back.data.dtype == dtype
    np.testing.assert_array_equal(back.data, original.data)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), original.data)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_an_image_comes_back_as_it_was(tmp_path, dtype):
    data = np.random.default_rng(0).normal(0, 500, (6, 5, 4)).astype(dtype)
    volume.write_volume(tmp_path / "image.nii.gz", Volume(data, AFFINE, "HU"))
    back = volume.read_volume(tmp_path / "image.nii.gz", unit="HU")
    assert back.data.dtype == dtype
    np.testing.assert_array_equal(back.data, data)


def test_the_same_label_map_is_the_same_file(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        volume.write_label_map(tmp_path / name, label_map())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "scaled.nii.gz")
    found = volume.read_volume(tmp_path / "scaled.nii.gz").data
    np.testing.assert_allclose(found, np.asarray(nib.load(tmp_path / "scaled.nii.gz").dataobj))


def test_big_endian_files_are_read(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    data = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(data, np.eye(4), header), tmp_path / "big.nii")
    np.testing.assert_array_equal(volume.read_volume(tmp_path / "big.nii").data, data)


def test_float_labels_must_be_whole(tmp_path):
    for value, fine in ((3.0, True), (2.9999, False)):
        data = np.zeros((3, 3, 3), np.float32)
        data[1, 1, 1] = value
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "float.nii.gz")
        if fine:
            assert volume.read_label_map(tmp_path / "float.nii.gz").data.dtype == np.uint8
        else:
            with pytest.raises(InputError, match=r"2\.9999 in .* not a whole number"):
                volume.read_label_map(tmp_path / "float.nii.gz")


def broken(tmp_path, kind):
    """A file that cannot be read, and what its error says."""
    path = tmp_path / "broken.nii.gz"
    volume.write_label_map(path, label_map())
    raw = gzip.decompress(path.read_bytes())
    if kind == "missing":
        path.unlink()
        return path, "does not exist"
    if kind == "short":
        path.write_bytes(gzip.compress(raw[:-20]))
        return path, "truncated"
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
        return path, "truncated|cannot be read"
    if kind == "text":
        path.write_bytes(gzip.compress(b"not an image at all" * 40))
        return path, "no NIfTI file"
    path.write_bytes(b"no gzip" * 200)
    return path, "cannot be read"


@pytest.mark.parametrize("kind", ["missing", "short", "cut", "text", "plain"])
def test_a_broken_file_says_why(tmp_path, kind):
    path, words = broken(tmp_path, kind)
    with pytest.raises(InputError, match=words):
        volume.read_label_map(path)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2), (4, 4, 1)])
def test_a_volume_has_three_axes(tmp_path, shape):
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), tmp_path / "flat.nii")
    with pytest.raises(InputError, match="three axes"):
        volume.read_label_map(tmp_path / "flat.nii")


@pytest.mark.parametrize("value", [-1, 70000])
def test_labels_out_of_range_are_named(tmp_path, value):
    data = np.zeros((3, 3, 3), np.int32)
    data[1, 1, 1] = value
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "range.nii.gz")
    with pytest.raises(InputError, match="Must be 0 to 65535"):
        volume.read_label_map(tmp_path / "range.nii.gz")


def test_a_stray_label_is_named(tmp_path):
    volume.write_label_map(tmp_path / "labels.nii.gz", label_map())
    with pytest.raises(InputError, match="Label value 13"):
        volume.read_label_map(tmp_path / "labels.nii.gz", values=(1, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_is_finite(tmp_path, value):
    data = np.ones((3, 3, 3), np.float32)
    data[1, 1, 1] = value
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "nan.nii.gz")
    with pytest.raises(InputError, match="1 voxels of .* NaN or infinite"):
        volume.read_volume(tmp_path / "nan.nii.gz")


def test_grids_are_compared_in_millimetres():
    a = label_map()
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    assert volume.same_grid(a, label_map())
    assert volume.grid_difference(a, LabelMap(a.data, moved)) == "a corner lies 0.5 mm apart"
    assert "shape" in volume.grid_difference(a, LabelMap(a.data[1:], AFFINE))
