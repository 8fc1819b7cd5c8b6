"""Files are judged by what is in them, whatever their name; claims are checked before memory is taken."""

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images import formats, nifti, volume
from umdlib.images.volume import LabelMap, Volume

AFFINE = np.array([[-2, 0, 0, 30], [0, 0, 2, -40], [0, 3, 0, 5], [0, 0, 0, 1.0]])
DATA = np.random.default_rng(0).integers(-1000, 1000, (9, 8, 7)).astype(np.int16)


def nifti_bytes(tmp_path):
    volume.write_volume(tmp_path / "plain.nii", Volume(DATA, AFFINE))
    return (tmp_path / "plain.nii").read_bytes()


def same(path):
    found = volume.read_volume(path)
    np.testing.assert_array_equal(found.data, DATA)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
    assert found.data.flags.f_contiguous


@pytest.mark.parametrize(
    ("name", "packed"), [("a.nii", True), ("a.nii.gz", False), ("a", True), ("a.img", False)]
)
def test_the_name_of_a_file_does_not_matter(tmp_path, name, packed):
    raw = nifti_bytes(tmp_path)
    (tmp_path / name).write_bytes(gzip.compress(raw) if packed else raw)
    same(tmp_path / name)


def test_bytes_after_the_end_of_a_gzip_stream_are_not_read(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti_bytes(tmp_path)) + b"trailing" * 9)
    same(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [True, False])
def test_formats_that_simpleitk_reads_are_read(tmp_path, suffix, packed):
    sitk = pytest.importorskip("SimpleITK")
    nifti_bytes(tmp_path)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "plain.nii")), str(tmp_path / f"a{suffix}"), packed)
    same(tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}").rename(tmp_path / "b.nii.gz")
    same(tmp_path / "b.nii.gz")


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
def test_mgh_is_read(tmp_path, suffix):
    nib.save(nib.MGHImage(DATA, AFFINE), tmp_path / f"a{suffix}")
    same(tmp_path / f"a{suffix}")
    short = (tmp_path / f"a{suffix}").read_bytes()[:-200]
    (tmp_path / f"a{suffix}").write_bytes(short)
    with pytest.raises(InputError, match=r"truncated|cannot be read"):
        volume.read_volume(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer, not the image. Fetch"),
        (bytes(128) + b"DICM", "DICOM slice. Import it with `umdlib import dicom`"),
        (b"\x89HDF\r\n\x1a\n", "MINC or HDF5"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"\x93NUMPY", "NumPy array"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"NRRD0005\ntype: short\n", r"cannot be read as NRRD|needs SimpleITK"),
        (b"no format at all", "not a NIfTI file: its header is missing"),
        (b"", "is empty"),
        (b"\x1f\x8b", r"truncated|cannot be read"),
    ],
)
def test_a_foreign_file_is_named_with_a_way_on(tmp_path, start, said):
    (tmp_path / "a.nii.gz").write_bytes(start)
    with pytest.raises(InputError, match=said):
        volume.read_volume(tmp_path / "a.nii.gz")


def test_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="is a folder. An image is one file"):
        volume.read_volume(tmp_path)
    (tmp_path / "slice.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match="folder of DICOM slices"):
        volume.read_volume(tmp_path)


def test_a_missing_reader_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0005\ntype: short\n")
    with pytest.raises(InputError, match=r"needs SimpleITK: pip install \"umdlib\[formats\]\""):
        volume.read_volume(tmp_path / "a.nrrd")


def claiming(shape, dtype):
    """Header of a volume of this shape, without its voxels."""
    header = bytearray(nifti._header_bytes(np.zeros((2, 2, 2), dtype), np.eye(4), ""))
    header[42:48] = np.array(shape, np.int16).tobytes()
    return bytes(header)


@pytest.mark.parametrize("packed", [True, False])
def test_a_header_that_claims_more_than_its_file_holds_takes_no_memory(tmp_path, packed):
    raw = claiming((2000, 2000, 500), np.float32)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw) if packed else raw)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="claims 8,000,000,000 bytes of voxels"):
            volume.read_volume(tmp_path / "a.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "BOMB_BYTES", 1 << 25)
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(claiming((256, 256, 256), np.float32) + bytes(1 << 26), 9))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="would inflate to 67,108,864. No image shrinks 500-fold"):
            volume.read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_more_memory_than_there_is_is_refused(monkeypatch, tmp_path):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 3 << 30})())
    with pytest.raises(InputError, match=r"more memory than there is: 4.0 GB of 3.0"):
        formats.check_claim(4 << 30, 4 << 30, tmp_path, deflated=False)


def test_labels_under_the_slope_of_an_int32_file_are_whole(tmp_path):
    labels = np.zeros((6, 5, 4), np.int32)
    labels[1:3], labels[4] = 3, 255
    image = nib.Nifti1Image(labels * 10, np.eye(4))
    image.header.set_slope_inter(0.1, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    stored = nib.load(tmp_path / "a.nii.gz").get_fdata()
    assert (np.rint(stored) != stored).any()
    np.testing.assert_array_equal(volume.read_label_map(tmp_path / "a.nii.gz").data, labels)


def test_almost_whole_labels_are_rounded_and_not_cut(tmp_path):
    data = np.zeros((3, 3, 3))
    data[1] = 2.9999999
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    assert set(np.unique(volume.read_label_map(tmp_path / "a.nii.gz").data).tolist()) == {0, 3}


def test_what_is_not_a_number_outside_the_field_becomes_what_is_asked(tmp_path):
    data = np.ones((3, 3, 3), np.float32)
    data[0] = np.nan
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    assert (volume.read_volume(tmp_path / "a.nii.gz", nan=-1000).data[0] == -1000).all()
    with pytest.raises(InputError, match="column `outside` in the manifest"):
        volume.read_volume(tmp_path / "a.nii.gz")


def test_volumes_and_label_maps_share_their_names(tmp_path):
    volume.write_label_map(tmp_path / "a.nii.gz", LabelMap(np.ones((3, 3, 3), np.uint8), np.eye(4)))
    assert volume.read_label_map(tmp_path / "a.nii.gz").spacing_mm == (1, 1, 1)


@pytest.mark.parametrize(
    ("header", "voxels"),
    [
        ("a.hdr", "a.img"),
        ("a.hdr.gz", "a.img.gz"),
        ("a.mhd", "a.raw"),
        ("a.mhd", "a.zraw"),
        ("a.nhdr", "a.raw"),
    ],
)
def test_voxels_in_a_second_file_are_read_where_they_are_asked_for(tmp_path, header, voxels):
    if header.startswith("a.hdr"):
        nib.save(nib.Nifti1Pair(DATA, AFFINE), tmp_path / header)
    else:
        sitk = pytest.importorskip("SimpleITK")
        nifti_bytes(tmp_path)
        image = sitk.ReadImage(str(tmp_path / "plain.nii"))
        sitk.WriteImage(image, str(tmp_path / header), voxels == "a.zraw")
    found = volume.read_volume(tmp_path / header, two_files=True)
    np.testing.assert_array_equal(found.data, DATA)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
    with pytest.raises(InputError, match=r"`umdlib import` makes one file of the two"):
        volume.read_volume(tmp_path / header)
    (tmp_path / voxels).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{voxels.removesuffix('.gz')}.* does not lie beside it"):
        volume.read_volume(tmp_path / header, two_files=True)


@pytest.mark.parametrize("second", ["/etc/passwd", "../a.raw", "LIST", "a%03d.raw 0 9 1"])
def test_a_header_may_not_name_a_file_elsewhere_for_its_voxels(tmp_path, second):
    pytest.importorskip("SimpleITK")
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"
        f"ElementSpacing = 1 1 1\nElementDataFile = {second}\n"
    )
    with pytest.raises(InputError, match="Must be one file in its folder"):
        volume.read_volume(tmp_path / "a.mhd", two_files=True)
