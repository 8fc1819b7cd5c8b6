"""One image, a prompt, a mask on its own grid: what is written, kept and refused."""

import json
import os

import nibabel as nib
import numpy as np
import pytest
from conftest import BALL, CT_AFFINE, CT_SHAPE, PET_AFFINE, PET_SHAPE, drawn_labels

import umdlib as umd
from umdlib.__main__ import main
from umdlib.errors import InputError
from umdlib.files import read_tsv
from umdlib.images.volume import Volume, read_label_map, read_volume, write_volume
from umdlib.requests.batch import read_requests
from umdlib.requests.opening import open_images


def values(affine, shape, means, seed=1):
    labels = drawn_labels(affine, shape)
    image = np.choose(np.searchsorted([0, 1, 4], labels), means).astype(np.float32)
    return image + np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


@pytest.fixture
def ct(tmp_path):
    """A body of -100 HU with a ball of 60 and a rod of 90 in air, in a header that is not this project's."""
    data = values(CT_AFFINE, CT_SHAPE, (-100, 60, 90))
    data[:, :3] = -1000
    data[20:23, 20:23, -2:] = 900
    header = nib.Nifti2Header(endianness=">")
    header.set_data_shape(CT_SHAPE)
    header.set_data_dtype(np.int16)
    header.set_xyzt_units("mm")
    header.set_sform(CT_AFFINE, code=2)
    header.set_qform(CT_AFFINE, code=4)
    header["descrip"] = b"a scanner"
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti2Image(data.astype(np.int16), None, header), path)
    return path


@pytest.fixture
def pet(tmp_path):
    path = tmp_path / "pet.nii.gz"
    data = values(PET_AFFINE, PET_SHAPE, (0.5, 6.0, 3.0)) / 3 + 1
    write_volume(path, Volume(np.abs(data).astype(np.float32), PET_AFFINE, "SUV"))
    return path


def run(capsys, *words):
    status = main([str(w) for w in words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_click_gives_a_mask_with_the_header_of_the_image_and_a_picture(capsys, ct, tmp_path):
    out = tmp_path / "ball.nii.gz"
    status, said, _ = run(
        capsys, "segment", ct, "--system", "region_growing", "--click", "-20,0,0", "-o", out
    )
    assert status == 0
    assert "taken as CT" in said and "HU mean" in said
    mask, image = nib.load(out), nib.load(ct)
    assert type(mask) is type(image) and mask.header.endianness == ">"
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "pixdim", "quatern_b", "dim"):
        assert mask.header[field].tobytes() == image.header[field].tobytes(), field
    found = np.asarray(mask.dataobj)
    ball = drawn_labels(CT_AFFINE, CT_SHAPE) == BALL.value
    assert umd.dice(ball, found > 0) > 0.8
    about = json.loads((tmp_path / "ball.json").read_text())
    (row,) = about["structures"]
    assert row["voxels"] == int(found.sum()) and row["volume_ml"] == pytest.approx(found.sum() * 0.012)
    inside = read_volume(ct).data[found > 0]
    assert (row["mean"], row["max"]) == (pytest.approx(inside.mean(), abs=1e-3), inside.max())
    assert (tmp_path / "ball.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", [os.fsdecode(b"J\xf6rg.nii.gz"), "a$b_^$.nii.gz"])
def test_a_name_that_letters_of_a_picture_cannot_hold_is_spelt_out(capsys, ct, tmp_path, name):
    """Names of old Windows archives are not UTF-8; between two $ a formula would begin."""
    try:
        ct.rename(tmp_path / name)
    except OSError:
        pytest.skip("this disk holds no such name")
    out = tmp_path / "mask.nii.gz"
    system = ("--system", "region_growing", "--click", "-20,0,0", "-o", out)
    assert run(capsys, "segment", tmp_path / name, *system)[0] == 0
    assert (tmp_path / "mask.png").is_file() and json.loads((tmp_path / "mask.json").read_text())


def test_five_lines_of_python_give_the_same_mask(capsys, ct, pet, tmp_path):
    image = umd.read_volume(ct, unit="HU")
    segment = umd.load_segmenter("region_growing")
    mask = segment(image, umd.Prompt("ball", (umd.Click((-20.0, 0.0, 0.0)),)))
    umd.write_mask(tmp_path / "five.nii.gz", mask, image, like=ct)
    words = ("--system", "region_growing", "--click", "40,25,13", "--coordinates", "voxel", "--no-picture")
    status, said, _ = run(capsys, "segment", ct, *words, "--partner", pet, "-o", tmp_path / "one.nii.gz")
    assert status == 0 and "'region_growing' sees one image" in said
    near = read_label_map(tmp_path / "one.nii.gz").data
    assert np.array_equal(read_label_map(tmp_path / "five.nii.gz").data, near)


def test_a_system_of_two_images_is_given_the_partner_and_asks_for_it(capsys, ct, pet, tmp_path):
    (tmp_path / "two.py").write_text(
        "from umdlib.images.partner import onto\n"
        "from umdlib.segmenters import Segmenter\n\n"
        "def hot(image, prompt, previous=None, partner=None):\n"
        "    return (onto(image, partner) > 2) & (image.data > 0)\n\n"
        "TWO = Segmenter('two_of_test', 'Two', 'Two.', lambda device: hot, frozenset({'click'}),\n"
        "                modalities=('CT',), partner=('PET',))\n"
    )
    out = tmp_path / "two.nii.gz"
    words = (
        "segment",
        ct,
        "--system",
        f"{tmp_path / 'two.py'}:TWO",
        "--click",
        "-20,0,0",
        "--no-picture",
        "-o",
        out,
    )
    status, said, _ = run(capsys, *words, "--partner", pet)
    assert status == 0 and "sees one image" not in said
    ball = drawn_labels(CT_AFFINE, CT_SHAPE) > 0
    assert umd.dice(ball, read_label_map(out).data > 0) > 0.7
    assert json.loads((tmp_path / "two.json").read_text())["partner"].endswith("pet.nii.gz")
    status, _, error = run(capsys, *words, "--overwrite")
    assert status == 2 and "ct.nii.gz (CT) needs PET as partner" in error
    image = read_volume(pet, unit="SUV")
    away = image.affine.copy()
    away[2, 3] += 900
    write_volume(pet, Volume(image.data, away, "SUV"))
    status, _, error = run(capsys, *words, "--partner", pet, "--overwrite")
    assert status == 2 and "do not meet" in error and "in the image's own frame" in error


def test_the_same_request_is_kept_and_another_is_not_overwritten(capsys, ct, tmp_path):
    words = ("segment", ct, "--system", "threshold", "--no-picture", "-o", tmp_path / "m.nii")
    assert run(capsys, *words, "--click", "-20,0,0")[0] == 0
    before = (tmp_path / "m.nii").stat().st_mtime_ns
    status, said, _ = run(capsys, *words, "--click", "-20,0,0")
    assert status == 0 and "kept" in said and (tmp_path / "m.nii").stat().st_mtime_ns == before
    status, _, error = run(capsys, *words, "--click", "25,0,0")
    assert status == 2 and "not the answer to this request" in error
    assert run(capsys, *words, "--click", "25,0,0", "--overwrite")[0] == 0


def test_files_of_the_request_and_foreign_records_are_never_overwritten(capsys, ct, tmp_path):
    words = ("segment", ct, "--system", "threshold", "--no-picture", "--click", "-20,0,0")
    before = ct.read_bytes()
    status, _, error = run(capsys, *words, "-o", ct, "--overwrite")
    assert status == 2 and "which the request reads" in error and ct.read_bytes() == before
    sidecar = tmp_path / "scan.json"  # as converters write it beside an image
    sidecar.write_text('{"Modality": "CT"}')
    status, _, error = run(capsys, *words, "-o", tmp_path / "scan.nii.gz")
    assert status == 2 and "is something else" in error and "Modality" in sidecar.read_text()


def test_a_table_of_requests_goes_on_after_a_bad_one_and_resumes(capsys, ct, pet, tmp_path):
    table = tmp_path / "ask.tsv"
    table.write_text(
        "image\tclick\ttext\tmodality\tmask\n"
        "ct.nii.gz\t-20,0,0\tball\t\t\n"
        "ct.nii.gz\t999,0,0\tball\t\t\n"
        "pet.nii.gz\t-20,0,0; -18,0,0\tball\tPET\tb/pet.nii.gz\n"
    )
    words = ("segment", table, "--system", "region_growing", "-o", tmp_path / "out", "--no-picture")
    status, said, _ = run(capsys, *words)
    assert status == 1 and "[2/3]" in said and "lies outside" in said
    rows = read_tsv(tmp_path / "out" / "results.tsv")
    assert rows["status"].tolist() == ["ok", "failed", "ok"]
    assert rows["unit"].tolist() == ["HU", "n/a", "SUV"]
    assert (tmp_path / "out" / "b" / "pet.nii.gz").is_file()
    assert (tmp_path / "out" / "ct_2.nii.gz").is_file()
    status, said, _ = run(capsys, *words)
    assert said.count(" kept: ") == 2 and status == 1


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ("image\tclik\nct.nii.gz\t1,2,3\n", "Unknown column .* 'clik'. Did you mean 'click'"),
        ("image\tmask\nct.nii.gz\ta.nii\nct.nii.gz\ta.nii\n", "Lines 2 and 3 .* name one mask"),
        ("image\tmask\nct.nii.gz\t../a.nii\n", "outside the folder"),
        ("image\n", "holds no request"),
    ],
)
def test_a_bad_table_is_refused_before_anything_is_asked(capsys, ct, tmp_path, cells, sentence):
    (tmp_path / "ask.tsv").write_text(cells)
    with pytest.raises(InputError, match=sentence):
        read_requests(tmp_path / "ask.tsv", tmp_path / "out")


def test_a_file_that_is_not_in_its_unit_or_flat_is_named(ct, pet, tmp_path):
    with pytest.raises(InputError, match=r"modality of .*pet.nii.gz is not known.*--modality"):
        open_images(pet)
    with pytest.raises(InputError, match=r"pet.nii.gz .*HU.*CT must be in HU"):
        open_images(pet, modality="CT")
    with pytest.raises(InputError, match=r"as CT in HU does and no MR"):
        open_images(ct, modality="MR")
    write_volume(tmp_path / "bq.nii", Volume(read_volume(pet).data * 9000, PET_AFFINE))
    with pytest.raises(InputError, match=r"activity \(Bq/ml\)\? PET must be in SUV"):
        open_images(tmp_path / "bq.nii", modality="PET")
    nib.save(nib.Nifti1Image(np.ones((9, 9), np.float32), np.eye(4)), tmp_path / "flat.nii")
    with pytest.raises(InputError, match=r"flat.nii has shape \(9, 9\).*three axes"):
        open_images(tmp_path / "flat.nii", modality="CT")


def test_a_partner_lies_in_the_frame_of_the_image_and_is_of_the_other_kind(ct, pet, tmp_path):
    assert open_images(ct, partner=pet).partner.unit == "SUV"
    found = open_images(pet, modality="PET", partner=ct)
    assert (found.partner.unit, found.session) == ("HU", "petct")
    moved = PET_AFFINE.copy()
    moved[2, 3] += 500
    write_volume(tmp_path / "moved.nii", Volume(read_volume(pet).data, moved))
    with pytest.raises(InputError, match=r"ct.nii.gz and .*moved.nii do not meet.*own frame"):
        open_images(ct, partner=tmp_path / "moved.nii")
    with pytest.raises(InputError, match=r"is CT beside CT"):
        open_images(ct, partner=ct)


def test_a_system_that_is_not_here_or_not_for_the_modality_says_so(capsys, ct, pet, tmp_path):
    status, _, error = run(capsys, "segment", ct, "--system", "sam_med3d_turbo", "--click", "-20,0,0")
    assert status == 2 and "sam_med3d_turbo" in error and "unavailable" in error
    assert run(capsys, "segment", ct, "--system", "thresold", "--click", "1,1,1")[2].count("'threshold'") == 1
    out = tmp_path / "mask.nrrd"
    status, _, error = run(capsys, "segment", ct, "--system", "threshold", "--click", "-20,0,0", "-o", out)
    assert status == 2 and "Must end in .nii or .nii.gz" in error


def test_no_memory_while_loading_is_a_sentence(ct, tmp_path, monkeypatch):
    from umdlib.requests.answer import Request, answer
    from umdlib.requests.given import Given
    from umdlib.segmenters import calls

    def load(device):
        raise MemoryError

    record = umd.Segmenter("hungry", "Hungry", "Takes all.", load, frozenset({"click"}))
    with pytest.raises(InputError, match=r"'hungry' ran out of memory on cpu while it was loaded"):
        answer(Request(str(ct), tmp_path / "m.nii", Given(("-20,0,0",))), calls.open(record))


@pytest.mark.parametrize(
    ("line", "said"), [("\t1,2,3", "Line 2 of .* names no image"), ("n/a\t1,2,3", "names no image")]
)
def test_a_line_without_an_image_is_refused(tmp_path, line, said):
    (tmp_path / "ask.tsv").write_text(f"image\tclick\n{line}\n")
    with pytest.raises(InputError, match=said):
        read_requests(tmp_path / "ask.tsv", tmp_path / "out")


def test_prompts_beside_a_table_of_requests_are_refused(capsys, tmp_path):
    (tmp_path / "ask.tsv").write_text("image\tclick\na.nii.gz\t1,2,3\n")
    words = ["segment", str(tmp_path / "ask.tsv"), "--system", "threshold", "--initial-mask", "m.nii.gz"]
    assert main(words) == 2
    assert "Option --initial-mask goes with one image" in capsys.readouterr().err
