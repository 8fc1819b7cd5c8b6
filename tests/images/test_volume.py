"""Reading and writing: nothing is lost, and what cannot be read says why."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images import geometry, nifti, volume
from umdlib.images.volume import LabelMap, Volume

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


def large(fill, shape=(200, 190, 130)):
    """A label map of more than the least size whose memory is used again."""
    data = np.full(shape, fill, np.uint8, order="F")
    data[100:110, 50:60, 20:30] = fill + 1
    return LabelMap(data, AFFINE)


def test_memory_is_used_again_only_once_its_array_is_gone(tmp_path):
    for fill in (1, 5):
        volume.write_label_map(tmp_path / f"{fill}.nii.gz", large(fill))
    first = volume.read_label_map(tmp_path / "1.nii.gz")
    part, place = first.data[100:102], first.data.ctypes.data
    del first
    second = volume.read_label_map(tmp_path / "5.nii.gz")
    assert second.data.ctypes.data != place  # a view of the first is still in use
    assert set(np.unique(part).tolist()) == {1, 2}
    del part
    third = volume.read_label_map(tmp_path / "1.nii.gz")
    assert third.data.ctypes.data == place
    np.testing.assert_array_equal(second.data, large(5).data)
    np.testing.assert_array_equal(third.data, large(1).data)


def test_memory_of_another_size_and_type_is_no_obstacle(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(12):
        shape = tuple(rng.integers(120, 200, 3))
        data = rng.integers(0, 3, shape).astype(rng.choice([np.uint8, np.int16, np.float32]))
        volume.write_volume(tmp_path / "image.nii", Volume(data + data.dtype.type(1), AFFINE))
        found = volume.read_volume(tmp_path / "image.nii").data
        np.testing.assert_array_equal(found, data + 1, err_msg=str(n))


@pytest.mark.parametrize("order", ["C", "F"])
def test_files_do_not_depend_on_the_order_in_memory(tmp_path, order):
    data = np.random.default_rng(1).integers(0, 14, (60, 70, 90)).astype(np.uint16)
    volume.write_label_map(tmp_path / "plain.nii.gz", LabelMap(data, AFFINE))
    volume.write_label_map(tmp_path / "ordered.nii.gz", LabelMap(np.array(data, order=order)[::1], AFFINE))
    parts = np.zeros((120, 70, 90), np.uint16)
    parts[::2] = data
    volume.write_label_map(tmp_path / "strided.nii.gz", LabelMap(parts[::2], AFFINE))
    written = {(tmp_path / f"{n}.nii.gz").read_bytes() for n in ("plain", "ordered", "strided")}
    assert len(written) == 1
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "plain.nii.gz").dataobj), data)


def test_voxels_begin_where_the_header_says_and_what_follows_them_is_no_matter(tmp_path):
    image = nib.Nifti1Image(label_map().data, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"drawn by hand" * 9))
    nib.save(image, tmp_path / "extended.nii.gz")
    raw = gzip.decompress((tmp_path / "extended.nii.gz").read_bytes()) + b"more" * 999
    (tmp_path / "longer.nii").write_bytes(raw)
    # in several members, as bgzip writes them
    (tmp_path / "longer.nii.gz").write_bytes(gzip.compress(raw[:500]) + gzip.compress(raw[500:]))
    for name in ("extended.nii.gz", "longer.nii", "longer.nii.gz"):
        found = volume.read_label_map(tmp_path / name).data
        np.testing.assert_array_equal(found, label_map().data)


def test_the_checksum_of_a_file_is_verified(tmp_path):
    volume.write_label_map(tmp_path / "labels.nii.gz", label_map())
    raw = bytearray((tmp_path / "labels.nii.gz").read_bytes())
    raw[-6] ^= 1
    (tmp_path / "labels.nii.gz").write_bytes(raw)
    with pytest.raises(InputError, match="cannot be read as NIfTI: .*CRC"):
        volume.read_label_map(tmp_path / "labels.nii.gz")


@pytest.mark.parametrize("dtype", [">i2", "<i4", ">f4", "<f8", "<u8", "|i1"])
def test_labels_of_every_type_become_unsigned(tmp_path, dtype):
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    data = label_map().data.astype(dtype)
    nib.save(nib.Nifti1Image(data, AFFINE, header), tmp_path / "labels.nii.gz")
    found = volume.read_label_map(tmp_path / "labels.nii.gz", values=(13,))
    assert found.data.dtype == np.uint8
    np.testing.assert_array_equal(found.data, data)
    with pytest.raises(InputError, match="Label value 13"):
        volume.read_label_map(tmp_path / "labels.nii.gz", values=(12, 14))


@pytest.mark.parametrize("place", [0, 1, 7, 8, 503, 246])
def test_one_stray_voxel_is_found_wherever_it_lies(tmp_path, place):
    data = np.zeros((9, 8, 7), np.uint8, order="F")
    data.ravel("K")[place] = 99
    volume.write_label_map(tmp_path / "labels.nii.gz", LabelMap(data, AFFINE))
    with pytest.raises(InputError, match="Label value 99"):
        volume.read_label_map(tmp_path / "labels.nii.gz", values=(1, 2))


def test_a_header_that_asks_for_too_much_is_named(tmp_path):
    header = nifti._header_bytes(label_map().data, AFFINE, "")
    raw = bytearray(header + bytes(504))
    raw[42:48] = np.array([32767] * 3, np.int16).tobytes()
    (tmp_path / "huge.nii").write_bytes(raw)
    with pytest.raises(InputError, match=r"truncated|more memory"):
        volume.read_label_map(tmp_path / "huge.nii")


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
        return path, "not a NIfTI file"
    if kind == "changed":
        data = bytearray(path.read_bytes())
        data[-7] ^= 1  # of the checksum
        path.write_bytes(data)
        return path, "cannot be read"
    if kind == "empty":
        path.write_bytes(b"")
        return path, "is empty"
    path.write_bytes(b"no gzip" * 200)
    return path, "not a NIfTI file"


@pytest.mark.parametrize("runs", [0, 1 << 40], ids=["zlib-ng", "isal"])
@pytest.mark.parametrize("kind", ["missing", "short", "cut", "changed", "empty", "text", "plain"])
def test_a_broken_file_says_why(tmp_path, monkeypatch, kind, runs):
    monkeypatch.setattr(nifti, "RUNS", runs)
    path, words = broken(tmp_path, kind)
    with pytest.raises(InputError, match=words):
        volume.read_label_map(path)


def test_runs_and_noise_are_inflated_by_what_is_fastest_for_them(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 20)).astype(np.uint8)
    kinds = []
    for data in (np.repeat(noise[::40], 400, axis=0), noise):
        volume.write_label_map(tmp_path / "labels.nii.gz", LabelMap(data, AFFINE))
        kinds.append(nifti._opener(tmp_path / "labels.nii.gz").__module__)
        assert (volume.read_label_map(tmp_path / "labels.nii.gz").data == data).all()
    assert kinds == ["zlib_ng.gzip_ng", "isal.igzip"]


@pytest.mark.parametrize("shape", [(256, 256, 65), (257, 131, 129)])
def test_a_large_volume_is_copied_past_the_cache_to_the_last_byte(tmp_path, shape):
    from umdlib.kernels import streams  # with it numba is loaded

    assert streams.LINE == nifti.LINE
    rng = np.random.default_rng(0)
    data = np.repeat(rng.integers(0, 256, shape[1:]).astype(np.uint8)[None], shape[0], axis=0)
    data[-1, -1, -3:] = 7, 8, 9
    assert data.nbytes >= nifti.SPARE_LEAST
    path = tmp_path / "large.nii.gz"
    for moved in (data, np.roll(data, 1, axis=2)):  # the second into memory that held the first
        volume.write_label_map(path, LabelMap(moved, AFFINE))
        read = volume.read_label_map(path).data
        assert (read == moved).all()
        assert read.ctypes.data % nifti.LINE == 0
        del read
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:-1], 1))
    with pytest.raises(InputError, match="truncated"):
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


def test_axes_must_be_perpendicular(tmp_path):
    tilted = AFFINE.copy()
    tilted[1, 2] = 0.3  # a gantry tilted by 5.7 degrees
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.int16), tilted), tmp_path / "tilted.nii.gz")
    with pytest.raises(InputError, match="tilted.nii.gz are not perpendicular"):
        volume.read_volume(tmp_path / "tilted.nii.gz")


def test_grids_are_compared_in_voxels():
    a = label_map()
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    assert volume.grid_difference(a, label_map()) is None
    assert "a corner lies 0.249 voxels (0.5 mm) apart" in volume.grid_difference(a, LabelMap(a.data, moved))
    assert "shape" in volume.grid_difference(a, LabelMap(a.data[1:], AFFINE))


def test_a_scale_without_a_number_is_named(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header["scl_slope"], header["scl_inter"] = 1, np.nan
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    path = tmp_path / "scaled.nii"
    path.write_bytes(header.binaryblock + bytes(4) + bytes(128))
    with pytest.raises(InputError, match="scaled.nii cannot be read as NIfTI"):
        volume.read_volume(path, unit="HU")


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        volume.write_label_map(
            tmp_path / "file" / "x.nii.gz", volume.LabelMap(np.zeros((2, 2, 2), np.uint8), np.eye(4))
        )


def test_labels_on_their_own_oblique_grid_stay_as_they_are_up_to_the_border():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (9, 8, 7)).astype(np.uint8)
    for _ in range(30):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.uniform(0.5, 5, 3)
        affine[:3, 3] = rng.uniform(-300, 300, 3)
        same = geometry.resample(labels, affine, affine, labels.shape, order=0)
        np.testing.assert_array_equal(same, labels)
