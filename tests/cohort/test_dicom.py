"""DICOM: a hospital-like folder, contours, segmentations, damaged files, and the real ones."""

import nibabel as nib
import numpy as np
import phantom
import pydicom
import pytest
from phantom import CT_GRID, PET_GRID
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from umdlib import cohort
from umdlib.__main__ import main
from umdlib.cohort.dicom import DicomOptions, plan_dicom
from umdlib.cohort.names import read_names
from umdlib.cohort.plan import carry_out
from umdlib.errors import InputError
from umdlib.scores import read_scores

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
}
# 70 kg, 350 MBq, one half-life of F-18: SUV 1 is 2500 Bq/ml
FACTOR = 2500.0


def uid(*words):
    """The same UID for the same words."""
    return generate_uid(entropy_srcs=list(map(str, words)))


def write_series(folder, modality, grid, *, patient="P1", study="S", frame="F", name="", values=None, **tags):
    """Slices of an image in the orientation that scanners write; returns the series' UID."""
    data = phantom.image(grid, "PET" if modality == "PT" else modality).data if values is None else values
    data = np.asarray(data) * (FACTOR if modality == "PT" else 1)
    affine = grid[0]
    flip = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # to LPS
    series = uid(patient, study, modality, name)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(data.shape[2]):
        d = Dataset()
        d.file_meta = FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = CLASSES[modality]
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = uid(series, k)
        d.PatientName, d.PatientID, d.PatientBirthDate = "DOE^JANE", patient, "19610203"
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = (
            uid(patient, study),
            series,
            uid(patient, frame),
        )
        d.Modality, d.SeriesDescription, d.ImageType = modality, name, ["ORIGINAL", "PRIMARY", "AXIAL"]
        d.StudyDate = d.SeriesDate = d.AcquisitionDate = "20240301"
        d.StudyTime = d.SeriesTime = d.AcquisitionTime = "104946.2"
        d.PatientWeight, d.PatientSize, d.PatientSex, d.PatientAge = "70", "1.75", "F", "061Y"
        d.Rows, d.Columns = data.shape[1], data.shape[0]
        d.PixelSpacing = [abs(affine[1, 1]), abs(affine[0, 0])]
        d.ImageOrientationPatient = [np.sign(flip[0, 0]), 0, 0, 0, np.sign(flip[1, 1]), 0]
        d.ImagePositionPatient = (flip @ [0, 0, k, 1])[:3].tolist()
        d.SliceThickness = affine[2, 2]
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated = d.BitsStored = 16
        d.HighBit, d.PixelRepresentation = 15, 1
        slope = max(float(np.abs(data[:, :, k]).max()) / 30000, 1e-6) if modality == "PT" else 1.0
        d.RescaleSlope, d.RescaleIntercept = f"{slope:.8g}", "0"
        slope = float(d.RescaleSlope)
        d.PixelData = np.rint(data[:, :, k].T / slope).astype("<i2").tobytes()
        if modality == "PT":
            d.Units, d.CorrectedImage, d.DecayCorrection = "BQML", ["DECY", "ATTN"], "START"
            item = Dataset()
            item.Radiopharmaceutical = "FDG -- fluorodeoxyglucose"
            item.RadionuclideTotalDose, item.RadionuclideHalfLife = "350000000", "6586.2"
            item.RadiopharmaceuticalStartTime = "090000"
            d.RadiopharmaceuticalInformationSequence = [item]
        for key, value in tags.items():
            if value is None:
                delattr(d, key)
            else:
                setattr(d, key, value)
        d.save_as(folder / f"IM{k:04d}", enforce_file_format=True)
    return series


def write_contours(path, grid, masks, *, patient="P1", study="S", frame="F", series=""):
    """An RTSTRUCT with one contour a slice around each box-shaped mask."""
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = uid(path.name)
    d.PatientID, d.StudyInstanceUID, d.SeriesInstanceUID, d.Modality = (
        patient,
        uid(patient, study),
        uid(path),
        "RTSTRUCT",
    )
    reference, study_item, series_item = Dataset(), Dataset(), Dataset()
    series_item.SeriesInstanceUID = series
    study_item.RTReferencedSeriesSequence = [series_item]
    reference.FrameOfReferenceUID, reference.RTReferencedStudySequence = uid(patient, frame), [study_item]
    d.ReferencedFrameOfReferenceSequence = [reference]
    d.StructureSetROISequence, d.ROIContourSequence = [], []
    for number, (name, box) in enumerate(masks.items(), start=1):
        roi, region = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        region.ReferencedROINumber, region.ContourSequence = number, []
        (i0, i1), (j0, j1), (k0, k1) = box
        for k in range(k0, k1):
            corners = np.array([[i, j, k, 1] for i, j in ((i0, j0), (i1, j0), (i1, j1), (i0, j1))]) - [
                0.5,
                0.5,
                0,
                0,
            ]
            points = (corners @ (np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid[0]).T)[:, :3]
            contour = Dataset()
            contour.ContourGeometricType, contour.ContourData = (
                "CLOSED_PLANAR",
                points.ravel().round(4).tolist(),
            )
            region.ContourSequence.append(contour)
        d.StructureSetROISequence.append(roi)
        d.ROIContourSequence.append(region)
    path.parent.mkdir(parents=True, exist_ok=True)
    d.save_as(path, enforce_file_format=True)


def in_sequence(**values):
    """A sequence of one item."""
    item = Dataset()
    for key, value in values.items():
        setattr(item, key, value)
    return [item]


ENHANCED = {
    "CT": "1.2.840.10008.5.1.4.1.1.2.1",
    "PT": "1.2.840.10008.5.1.4.1.1.130",
    "MR": "1.2.840.10008.5.1.4.1.1.4.1",
}


def write_enhanced(path, modality, grid, *, patient="P1", frame="F", shuffled=True, **tags):
    """The image of the body as one enhanced multi-frame file, its frames in any order."""
    data = phantom.image(grid, "PET" if modality == "PT" else modality).data
    data = data * (FACTOR if modality == "PT" else 1)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid[0]
    order = np.random.default_rng(0).permutation(data.shape[2]) if shuffled else np.arange(data.shape[2])
    slope = max(float(np.abs(data).max()) / 30000, 1e-6) if modality == "PT" else 1.0
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = ENHANCED[modality]
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = uid(path)
    d.PatientName, d.PatientID, d.PatientBirthDate = "DOE^JANE", patient, "19610203"
    d.StudyInstanceUID, d.SeriesInstanceUID = uid(patient, "S"), uid(path, "series")
    d.FrameOfReferenceUID, d.Modality = uid(patient, frame), modality
    d.ImageType, d.SeriesDescription = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "enhanced"
    d.StudyDate, d.StudyTime, d.AcquisitionDateTime = "20240301", "104900", "20240301104946.2"
    d.PatientWeight, d.PatientSize, d.PatientSex, d.PatientAge = "70", "1.75", "F", "061Y"
    d.Rows, d.Columns, d.NumberOfFrames = data.shape[1], data.shape[0], data.shape[2]
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated = d.BitsStored = 16
    d.HighBit, d.PixelRepresentation = 15, 1
    shared = Dataset()
    shared.PixelMeasuresSequence = in_sequence(
        PixelSpacing=[abs(grid[0][1, 1]), abs(grid[0][0, 0])], SliceThickness=grid[0][2, 2]
    )
    shared.PlaneOrientationSequence = in_sequence(
        ImageOrientationPatient=[np.sign(flip[0, 0]), 0, 0, 0, np.sign(flip[1, 1]), 0]
    )
    if modality == "PT":
        d.AttenuationCorrected = d.DecayCorrected = "YES"
        d.DecayCorrectionDateTime = "20240301104946.2"
        d.RadiopharmaceuticalInformationSequence = in_sequence(
            Radiopharmaceutical="FDG",
            RadionuclideTotalDose="350000000",
            RadionuclideHalfLife="6586.2",
            RadiopharmaceuticalStartDateTime="20240301090000",
        )
        unit = in_sequence(
            CodeValue="Bq/ml", CodingSchemeDesignator="UCUM", CodeMeaning="Becquerels/milliliter"
        )
        shared.RealWorldValueMappingSequence = in_sequence(
            RealWorldValueFirstValueMapped=-32768,
            RealWorldValueLastValueMapped=32767,
            RealWorldValueIntercept=0.0,
            RealWorldValueSlope=slope,
            LUTLabel="BQML",
            LUTExplanation="BQML",
            MeasurementUnitsCodeSequence=unit,
        )
    else:
        shared.PixelValueTransformationSequence = in_sequence(
            RescaleIntercept="0", RescaleSlope="1", RescaleType="HU" if modality == "CT" else "US"
        )
    d.SharedFunctionalGroupsSequence = [shared]
    d.PerFrameFunctionalGroupsSequence = []
    for number, k in enumerate(order, start=1):
        group = Dataset()
        group.PlanePositionSequence = in_sequence(ImagePositionPatient=(flip @ [0, 0, k, 1])[:3].tolist())
        group.FrameContentSequence = in_sequence(FrameAcquisitionNumber=1, DimensionIndexValues=[1, number])
        d.PerFrameFunctionalGroupsSequence.append(group)
    pixels = np.rint(data.transpose(2, 1, 0)[order] / slope).astype("<i2")
    d.PixelData = pixels.tobytes()
    for key, value in tags.items():
        setattr(d, key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    d.save_as(path, enforce_file_format=True)
    return d


BOX = ((20, 30), (10, 18), (40, 50))


def plan_of(folder, **options):
    return plan_dicom(folder, read_names(), DicomOptions(**options))


def why(plan, word):
    """Reasons of what was left out whose name or reason holds a word."""
    return [f"{what}: {reason}" for what, reason in plan.left_out if word in f"{what}: {reason}"]


def hospital(folder):
    """One person as an archive hands it out: mixed folders, wrong names, what nobody asked for."""
    ct = write_series(folder / "A/1", "CT", CT_GRID, name="CT WB 3.0 Br38", ConvolutionKernel="Br38")
    write_series(folder / "A/2", "CT", CT_GRID, name="CT LUNG 3.0 Bl57", ConvolutionKernel="Bl57")
    short = (CT_GRID[0], (46, 33, 30))
    write_series(
        folder / "A/3", "CT", short, name="CT THORAX", values=phantom.image(CT_GRID, "CT").data[:, :, :30]
    )
    scout = (CT_GRID[0], (46, 33, 9))
    write_series(
        folder / "A/4",
        "CT",
        scout,
        name="Topogram",
        values=np.zeros((46, 33, 9)),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    pet = write_series(folder / "B/PT really CT", "PT", PET_GRID, name="PET AC")
    write_series(folder / "B/nac", "PT", PET_GRID, name="PET NAC", CorrectedImage=["DECY"])
    write_series(folder / "B/mip", "PT", PET_GRID, name="MIP", ImageType=["DERIVED", "SECONDARY", "MIP"])
    write_series(
        folder / "B/second", "PT", PET_GRID, name="PET AC smoothed", ImageType=["DERIVED", "PRIMARY"]
    )
    write_contours(folder / "B/RS", CT_GRID, {"Liver": BOX, "PTV 60": BOX}, series=ct)
    write_series(folder / "C", "CT", CT_GRID, patient="P2", name="CT")
    write_series(folder / "C2", "PT", PET_GRID, patient="P2", name="PET", PatientWeight=None)
    for name, data in (("DICOMDIR", b"\0" * 200), ("report.pdf", b"%PDF-1.4"), ("empty", b"")):
        (folder / name).write_bytes(data)
    return ct, pet


def test_a_hospital_like_folder(tmp_path, capsys):
    hospital(tmp_path / "in")
    words = ["import", "dicom", str(tmp_path / "in"), str(tmp_path / "out")]
    assert main(words) == 0
    out = capsys.readouterr().out
    found = cohort.read_cohort(tmp_path / "out/manifest.tsv")
    assert [c.name for c in found.cases] == ["sub-001_petct_CT", "sub-001_petct_PET", "sub-002_petct_CT"]
    ct, pet = (c.read_image() for c in found.cases[:2])
    truth = phantom.image(CT_GRID, "CT").data
    np.testing.assert_allclose(ct.affine, CT_GRID[0], atol=1e-6)
    np.testing.assert_allclose(ct.data, np.rint(truth), atol=0.5)
    np.testing.assert_allclose(pet.data, phantom.image(PET_GRID, "PET").data, atol=0.002)
    liver = np.zeros(CT_GRID[1], np.uint8)
    liver[tuple(slice(a, b) for a, b in BOX)] = 1
    np.testing.assert_array_equal(found.cases[0].read_reference().data, liver)
    assert found.cases[1].read_reference().data.any()  # drawn on the CT, put on the PET's grid
    row = found.table.iloc[1]
    assert row[["tracer", "age", "sex", "weight_kg", "height_cm"]].tolist() == ["FDG", "61", "F", "70", "175"]
    assert "chosen of 3 series of its kind" in out and "Liver" not in out
    report = (tmp_path / "out_import.tsv").read_text()
    for said in (
        "its kernel is not a sharp one",
        "it shares more of the PET's length",
        "localizer",
        "lacks ATTN",
        "ImageType says mip",
        "it is original and the other one derived",
        "PatientWeight (0010,1030) is missing",
        "'PTV 60'",
        "not a DICOM file",
    ):
        assert said in report, said
    # no name, number, birth date or date of the person in what is handed on
    for file in (tmp_path / "out").rglob("*"):
        raw = (
            nib.load(file).header.binaryblock
            if file.suffix == ".gz"
            else file.read_bytes()
            if file.is_file()
            else b""
        )
        assert not any(word in raw for word in (b"DOE", b"P1", b"1961", b"20240301"))
    assert (tmp_path / "out_ids.tsv").read_text() == "source\tsubject\nP1\tsub-001\nP2\tsub-002\n"
    run = [
        "score",
        found.manifest,
        "--segmenters",
        "threshold",
        "--prompts",
        "centre",
        "--subjects",
        "sub-001",
    ]
    assert main([str(w) for w in [*run, "--out", tmp_path / "run"]]) == 0
    assert len(read_scores(tmp_path / "run/scores.parquet")) == 2


@pytest.mark.parametrize("structural", ["CT", "MR"])
def test_enhanced_multi_frame_files_are_images_like_others(tmp_path, structural):
    write_enhanced(tmp_path / "in/a", structural, CT_GRID)
    write_enhanced(tmp_path / "in/b", "PT", PET_GRID)
    plan = plan_of(tmp_path / "in")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "out"))
    session = "petct" if structural == "CT" else "petmr"
    assert [c.name for c in found.cases] == [f"P1_{session}_{structural}", f"P1_{session}_PET"]
    image, pet = (c.read_image() for c in found.cases)
    np.testing.assert_allclose(image.affine, CT_GRID[0], atol=1e-6)
    np.testing.assert_allclose(image.data, phantom.image(CT_GRID, structural).data, atol=0.51)
    np.testing.assert_allclose(pet.affine, PET_GRID[0], atol=1e-6)
    np.testing.assert_allclose(pet.data, phantom.image(PET_GRID, "PET").data, atol=0.002)
    assert found.table.iloc[1][["tracer", "age", "weight_kg"]].tolist() == ["FDG", "61", "70"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: setattr(d, "AttenuationCorrected", "NO"), "lacks ATTN"),
        (lambda d: delattr(d, "PatientWeight"), "PatientWeight (0010,1030) is missing"),
        (lambda d: d.PerFrameFunctionalGroupsSequence.pop(), "NumberOfFrames is 90, and 89 frames"),
        (
            lambda d: setattr(
                d.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0],
                "ImagePositionPatient",
                [0, 0, 5000.0],
            ),
            "slices are missing or uneven",
        ),
        (
            lambda d: setattr(
                d.PerFrameFunctionalGroupsSequence[3],
                "PlaneOrientationSequence",
                in_sequence(ImageOrientationPatient=[0, 1, 0, 0, 0, 1]),
            ),
            "frames of several ImageOrientationPatient",
        ),
        (lambda d: setattr(d, "PixelData", d.PixelData[:-2000]), "cannot be read"),
    ],
    ids=["not corrected", "no weight", "frames missing", "uneven", "two orientations", "truncated"],
)
def test_an_enhanced_file_that_cannot_be_an_image_is_left_out(tmp_path, change, said):
    write_enhanced(tmp_path / "in/a", "CT", CT_GRID)
    d = write_enhanced(tmp_path / "in/b", "PT", PET_GRID)
    change(d)
    d.save_as(tmp_path / "in/b", enforce_file_format=True)
    plan = plan_of(tmp_path / "in")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "out"))
    assert [c.modality for c in found.cases] == ["CT"]
    assert why(plan, said), plan.left_out


def test_an_mr_of_another_day_is_not_one_examination(tmp_path):
    write_series(tmp_path / "m", "MR", CT_GRID, SeriesDate="20240211", AcquisitionDate="20240211", name="T1")
    write_series(tmp_path / "p", "PT", PET_GRID, name="PET")
    plan = plan_of(tmp_path)
    assert [r.name for r in plan.rows] == ["P1_petct_PET"]
    assert why(plan, "19.0 days before the PET")
    assert {r.session for r in plan_of(tmp_path, apart=True).rows} == {"petmr-apart"}


def test_two_examinations_of_one_person_are_two_sessions(tmp_path):
    for study, date in (("S2", "20240601"), ("S1", "20240301")):
        days = {"SeriesDate": date, "AcquisitionDate": date, "StudyDate": date}
        write_series(tmp_path / f"c{study}", "CT", CT_GRID, study=study, frame=study, **days)
        write_series(tmp_path / f"p{study}", "PT", PET_GRID, study=study, frame=study, **days)
    plan = plan_of(tmp_path)
    assert [r.session for r in plan.rows] == ["petct-1", "petct-1", "petct-2", "petct-2"]


def test_a_pet_in_another_frame_of_reference_is_not_paired(tmp_path):
    write_series(tmp_path / "c", "CT", CT_GRID)
    write_series(tmp_path / "p", "PT", PET_GRID, frame="G")
    plan = plan_of(tmp_path)
    assert [r.modality for r in plan.rows] == ["PET"] and why(plan, "another frame of reference")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "IM0040").unlink(), "a gap of 16.00 mm"),
        (lambda f: [(f / f"IM{k:04d}").unlink() for k in range(5, 112)], "fewer than 8"),
        (lambda f: (f / "IM0040").write_bytes((f / "IM0040").read_bytes()[:-500]), "cannot be read"),
    ],
    ids=["a slice is missing", "few slices", "a slice is truncated"],
)
def test_a_series_that_cannot_be_an_image_is_left_out(tmp_path, change, said):
    write_series(tmp_path / "in/c", "CT", CT_GRID)
    write_series(tmp_path / "in/p", "PT", PET_GRID)
    change(tmp_path / "in/c")
    plan = plan_of(tmp_path / "in")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "out"))
    assert [c.modality for c in found.cases] == ["PET"]
    assert why(plan, said)


SMALL = (np.array([[-8.0, 0, 0, 60], [0, 8, 0, -60], [0, 0, 8, -100], [0, 0, 0, 1]]), (16, 14, 20))


def changed(folder, change):
    """Slices of a series, each changed by its number."""
    for k, file in enumerate(sorted(folder.iterdir())):
        d = pydicom.dcmread(file)
        change(d, k)
        d.save_as(file)


def turned(d, k):
    """An orientation that a border of rounding runs through."""
    d.ImageOrientationPatient = [1, 0.00049 + 0.00002 * (k % 2), 0, -0.0005, 1, 0]


def one_image(tmp_path):
    """The only image of an import of DICOM, and the plan."""
    plan = plan_of(tmp_path / "in")
    (case,) = cohort.read_cohort(carry_out(plan, tmp_path / "out")).cases
    return case, plan


def test_slices_that_turn_by_rounding_are_one_stack(tmp_path):
    write_series(tmp_path / "in", "CT", SMALL)
    changed(tmp_path / "in", turned)
    case, _ = one_image(tmp_path)
    assert case.read_image().shape == SMALL[1]


def test_a_slice_that_is_there_twice_is_taken_once(tmp_path):
    write_series(tmp_path / "in", "CT", SMALL)
    (tmp_path / "in/IM0003 (1)").write_bytes((tmp_path / "in/IM0003").read_bytes())
    case, plan = one_image(tmp_path)
    assert case.read_image().shape == SMALL[1]
    assert why(plan, "the same image (SOPInstanceUID)")


def test_inverted_presentation_does_not_invert_values(tmp_path):
    write_series(tmp_path / "in", "CT", SMALL, PhotometricInterpretation="MONOCHROME1")
    case, _ = one_image(tmp_path)
    np.testing.assert_allclose(case.read_image().data, np.rint(phantom.image(SMALL, "CT").data), atol=0.5)


def test_files_that_begin_with_their_first_tag_are_read(tmp_path):
    write_series(tmp_path / "in", "CT", SMALL)
    for file in (tmp_path / "in").iterdir():
        d = pydicom.dcmread(file)
        bare = Dataset()
        bare.update({e.tag: e for e in d})
        pydicom.dcmwrite(file, bare, implicit_vr=True, little_endian=True)
    case, _ = one_image(tmp_path)
    np.testing.assert_allclose(case.read_image().data, np.rint(phantom.image(SMALL, "CT").data), atol=0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d, k: setattr(d, "ImagePositionPatient", [-60, 60 + 2 * k, -100 + 8 * k]), "by 14.0 degrees"),
        (lambda d, k: setattr(d, "RescaleType", "MGML"), "RescaleType (0028,1054) is MGML"),
        (lambda d, k: delattr(d, "RescaleSlope"), "RescaleSlope (0028,1053) is missing"),
        (lambda d, k: setattr(d, "SamplesPerPixel", 3), "colours: a picture"),
    ],
    ids=["tilted gantry", "iodine", "no scale", "fused"],
)
def test_what_is_not_a_straight_stack_of_hu_is_said(tmp_path, change, said):
    write_series(tmp_path / "in", "CT", SMALL)
    changed(tmp_path / "in", change)
    with pytest.raises(InputError) as error:
        plan_of(tmp_path / "in")
    assert said in str(error.value)


def test_images_without_frame_or_time_are_paired_in_their_study_with_a_word(tmp_path):
    write_series(tmp_path / "in/c", "CT", SMALL, FrameOfReferenceUID=None, AcquisitionTime=None)
    changed(tmp_path / "in/c", lambda d, k: [delattr(d, t) for t in ("SeriesTime", "StudyTime")])
    write_series(tmp_path / "in/p", "PT", SMALL, FrameOfReferenceUID=None)
    plan = plan_of(tmp_path / "in")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "out"))
    assert [c.name for c in found.cases] == ["P1_petct_CT", "P1_petct_PET"]
    assert sum("names no frame of reference" in note for note in plan.notes) == 2


@pytest.mark.parametrize(("step", "known", "filled"), [(0.5, True, 6), (0.5, False, 6), (2, True, 3)])
def test_contours_of_other_planes_than_the_slices(tmp_path, step, known, filled):
    """Two planes of a slice are not a mask and its hole; slices without a plane are empty where it was drawn."""
    ct = write_series(tmp_path / "in/c", "CT", SMALL)
    planes = (SMALL[0] @ np.diag([1, 1, step, 1]), SMALL[1])
    start = round(4 / step)
    box = {"Liver": ((4, 10), (4, 10), (start, start + round(5.5 / step)))}
    write_contours(tmp_path / "in/RS", planes, box, series=ct if known else "1.2.3")
    case, _ = one_image(tmp_path)
    per_slice = (case.read_reference().data > 0).sum(axis=(0, 1))
    assert (per_slice == 36).sum() == filled
    assert set(per_slice.tolist()) == {0, 36}


def test_contours_of_thicker_slices_of_a_series_that_is_not_there_are_refused(tmp_path):
    write_series(tmp_path / "in/c", "CT", SMALL)
    planes = (SMALL[0] @ np.diag([1, 1, 2, 1]), SMALL[1])
    write_contours(tmp_path / "in/RS", planes, {"Liver": ((4, 10), (4, 10), (2, 6))}, series="1.2.3")
    with pytest.raises(InputError, match="Nothing could be enrolled"):
        one_image(tmp_path)
    assert "16.00 mm apart" in (tmp_path / "out_import.tsv").read_text()


def contour(corners, k=7, kind="CLOSED_PLANAR"):
    """A contour through voxel places (i, j) of a slice of `SMALL`."""
    points = np.array([[i, j, k, 1] for i, j in corners]) @ (np.diag([-1.0, -1.0, 1.0, 1.0]) @ SMALL[0]).T
    (item,) = in_sequence(ContourGeometricType=kind, ContourData=points[:, :3].ravel().round(4).tolist())
    return item


def square(low, high, **options):
    return contour([(low, low), (high, low), (high, high), (low, high)], **options)


@pytest.mark.parametrize(
    ("contours", "voxels"),
    [
        ([square(3.5, 10.5), square(5.5, 8.5)], 49 - 9),
        ([square(5.5, 8.5), square(3.5, 10.5), square(6.5, 7.5)], 49 - 9 + 1),
        ([square(3.5, 8.5), square(6.5, 10.5)], 25 + 16 - 4),
        ([square(3.5, 8.5), square(3.5, 8.5)], 25),
        ([square(3.5, 8.5), square(6.5, 10.5, kind="CLOSEDPLANAR_XOR")], 25 + 16 - 8),
        ([square(-5, 40)], 16 * 14),
        ([square(3.5, 8.5), contour([(3, 3), (5, 5)])], 25),
    ],
    ids=["hole", "island in a hole", "overlap", "a copy", "xor", "beyond the image", "two points"],
)
def test_contours_of_one_plane(tmp_path, contours, voxels):
    """Of a voxel grid by counting; a contour that was there twice came out empty, an overlap as a hole."""
    ct = write_series(tmp_path / "in/c", "CT", SMALL)
    write_contours(tmp_path / "in/RS", SMALL, {"Liver": ((4, 6), (4, 6), (5, 6))}, series=ct)
    d = pydicom.dcmread(tmp_path / "in/RS")
    d.ROIContourSequence[0].ContourSequence = contours
    d.save_as(tmp_path / "in/RS")
    case, _ = one_image(tmp_path)
    assert int(case.read_reference().data.sum()) == voxels


def test_a_region_without_a_contour_is_no_reference(tmp_path):
    """The image was lost with the file's first missing contour, or enrolled with an empty reference."""
    ct = write_series(tmp_path / "in/c", "CT", SMALL)
    write_contours(tmp_path / "in/RS", SMALL, {"Liver": BOX}, series=ct)
    d = pydicom.dcmread(tmp_path / "in/RS")
    del d.ROIContourSequence
    d.save_as(tmp_path / "in/RS")
    case, plan = one_image(tmp_path)
    assert case.reference is None and why(plan, "a region without a contour")


def renumbered(folder, name):
    """Give the files of a folder UIDs of their own."""
    changed(folder, lambda d, k: setattr(d, "SOPInstanceUID", uid(name, k)))


def test_images_at_one_place_of_a_series_are_told_apart(tmp_path):
    """Dixon images in one series: the MR was left out as a whole."""
    for name in ("FAT", "IN_PHASE", "WATER"):
        image_type = ["ORIGINAL", "PRIMARY", "M", "FFE", name]
        write_series(tmp_path / "in" / name, "MR", SMALL, ImageType=image_type)
        renumbered(tmp_path / "in" / name, name)
    case, plan = one_image(tmp_path)
    assert case.modality == "MR" and case.read_image().shape == SMALL[1]
    assert any("(M/FFE/WATER, 20 slices) chosen of 3" in note for note in plan.notes)
    assert "it shows neither fat, phase, diffusion" in why(plan, "(M/FFE/FAT, 20 slices) of")[0]


@pytest.mark.parametrize("name", ["WB_MRAC_PET_UMAP", "MRAC umap", "ep2d ADC", "resolve_TRACEW"])
def test_what_a_scanner_makes_beside_the_anatomy_is_not_chosen(tmp_path, name):
    """The map of PET/MR for attenuation has more slices than the T1."""
    fine = (SMALL[0] @ np.diag([1, 1, 0.5, 1]), (16, 14, 40))
    write_series(tmp_path / "in/u", "MR", fine, name=name)
    write_series(tmp_path / "in/t", "MR", SMALL, name="t1_vibe")
    case, plan = one_image(tmp_path)
    assert case.read_image().shape == SMALL[1]
    assert "nor attenuation" in why(plan, f"'{name}'")[0]


def test_frames_of_a_dynamic_pet_are_not_told_apart(tmp_path):
    for n in range(2):
        write_series(tmp_path / f"in/{n}", "PT", SMALL, AcquisitionNumber=str(n))
        renumbered(tmp_path / f"in/{n}", n)
    with pytest.raises(InputError, match="a dynamic, gated or multi-echo series"):
        plan_of(tmp_path / "in")


def test_a_localiser_within_a_series_is_left_out_alone(tmp_path):
    write_series(tmp_path / "in", "CT", SMALL)
    d = pydicom.dcmread(tmp_path / "in/IM0000")
    d.SOPInstanceUID, d.ImageType, d.ImagePositionPatient = (
        uid(9),
        ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        [0, 0, 300],
    )
    d.save_as(tmp_path / "in/scout")
    case, plan = one_image(tmp_path)
    assert case.read_image().shape == SMALL[1] and why(plan, "ImageType says localizer")


@pytest.mark.parametrize(
    ("patient", "persons", "said"), [("", 2, "no PatientID"), ("ANON", 1, "several sexes")]
)
def test_persons_whom_their_id_does_not_tell_apart(tmp_path, patient, persons, said):
    """Two persons without an ID were one with two examinations."""
    for study, sex in (("A", "F"), ("B", "M")):
        write_series(tmp_path / "in" / study, "CT", SMALL, patient=study, PatientID=patient, PatientSex=sex)
    plan = plan_of(tmp_path / "in")
    assert len({row.subject for row in plan.rows}) == persons and len(plan.rows) == 2
    assert any(said in note for note in plan.notes)


def test_a_folder_without_any_series_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"No series in .*0 DICOM files"):
        plan_of(tmp_path)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_dicom_seg_becomes_a_label_map(tmp_path, kind):
    import highdicom

    write_series(tmp_path / "in/c", "CT", SMALL)
    sources = [pydicom.dcmread(f) for f in sorted((tmp_path / "in/c").iterdir())]
    mask = np.zeros((20, 14, 16), np.uint8 if kind == "BINARY" else np.float32)
    mask[4:6, 4:8, 4:8] = mask[12:14, 4:8, 4:8] = 1  # empty slices between are not in the file
    if kind == "FRACTIONAL":
        mask[4:6, 8:10, 4:8] = 0.2
    code = highdicom.sr.CodedConcept("10200004", "SCT", "Liver")
    segment = highdicom.seg.SegmentDescription(
        1, "Liver", highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"), code, "MANUAL"
    )
    for source in sources:
        source.AccessionNumber = source.StudyID = ""
    highdicom.seg.Segmentation(
        sources, mask, kind, [segment], uid("seg"), 1, uid("seg", 1), 1, "maker", "model", "1", "1"
    ).save_as(tmp_path / "in/seg.dcm")
    case, _ = one_image(tmp_path)
    np.testing.assert_array_equal(case.read_reference().data, (mask > 0.5).transpose(2, 1, 0))


@pytest.mark.parametrize(("kind", "label"), [("BINARY", "Segment_1"), ("LABELMAP", "Kidney_L")])
def test_a_segment_that_is_only_numbered_goes_by_its_code_and_side(tmp_path, kind, label):
    """As 3D Slicer saves it; the background of a label map is not a structure."""
    import highdicom

    write_series(tmp_path / "in/c", "CT", SMALL)
    sources = [pydicom.dcmread(f) for f in sorted((tmp_path / "in/c").iterdir())]
    mask = np.zeros((20, 14, 16), np.uint8)
    mask[4:6, 4:8, 4:8] = 1
    coded = highdicom.sr.CodedConcept
    organ, kidney = coded("123037004", "SCT", "Anatomical Structure"), coded("64033007", "SCT", "Kidney")
    segment = highdicom.seg.SegmentDescription(1, label, organ, kidney, "MANUAL")
    left = coded("7771000", "SCT", "Left")
    segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [left]
    for source in sources:
        source.AccessionNumber = source.StudyID = ""
    highdicom.seg.Segmentation(
        sources, mask, kind, [segment], uid("seg"), 1, uid("seg", 1), 1, "maker", "model", "1", "1"
    ).save_as(tmp_path / "in/seg.dcm")
    case, plan = one_image(tmp_path)
    np.testing.assert_array_equal(case.read_reference().data, 2 * mask.transpose(2, 1, 0))
    assert plan.left_out == []


def test_one_region_of_both_kidneys_is_told_apart(tmp_path):
    ct = write_series(tmp_path / "in/c", "CT", SMALL)
    right, left = ((1, 4), (4, 8), (5, 10)), ((10, 13), (4, 8), (5, 10))
    write_contours(tmp_path / "in/RS", SMALL, {"Kidneys": right}, series=ct)
    write_contours(tmp_path / "other", SMALL, {"Kidneys": left}, series=ct)
    d, other = pydicom.dcmread(tmp_path / "in/RS"), pydicom.dcmread(tmp_path / "other")
    d.ROIContourSequence[0].ContourSequence.extend(other.ROIContourSequence[0].ContourSequence)
    d.save_as(tmp_path / "in/RS")
    found = one_image(tmp_path)[0].read_reference().data
    values = {s.name: s.value for s in cohort.read_cohort(tmp_path / "out/manifest.tsv").structures}
    for side, ((i0, i1), (j0, j1), (k0, k1)) in (("right", right), ("left", left)):
        assert set(found[i0:i1, j0:j1, k0:k1].ravel()) == {values[f"kidney_{side}"]}
    assert np.count_nonzero(found) == 2 * 60


def test_damaged_dicom_files_give_typed_errors_only_and_the_others_go_on(tmp_path):
    """200 files with changed bytes, in the header and in the pixels, beside a whole examination."""
    write_series(tmp_path / "in/whole/c", "CT", CT_GRID, patient="whole")
    write_series(tmp_path / "in/whole/p", "PT", PET_GRID, patient="whole")
    small = (PET_GRID[0], (37, 27, 20))
    values = phantom.image(PET_GRID, "PET").data[:, :, 40:60]
    rng = np.random.default_rng(20)
    damaged = 0
    for number in range(10):
        place = tmp_path / f"in/x{number}"
        write_series(place, "PT" if number % 2 else "CT", small, patient=f"X{number}", values=values)
        for file in sorted(place.iterdir()):
            raw = bytearray(file.read_bytes())
            for _ in range(rng.integers(1, 8)):
                at = int(rng.integers(0, len(raw) if number < 3 else 1400))
                raw[at] = rng.integers(0, 256)
            if rng.random() < 0.1:
                raw = raw[: rng.integers(0, len(raw))]
            file.write_bytes(bytes(raw))
            damaged += 1
    assert damaged == 200
    plan = plan_of(tmp_path / "in")
    found = cohort.read_cohort(carry_out(plan, tmp_path / "out"))
    assert {c.modality for c in found.cases if c.subject == "whole"} == {"CT", "PET"}
    assert len(plan.left_out) > 20


def test_the_real_series_equal_their_nifti_files(shared, tmp_path):
    real = shared / "real" / "dicom" / "STS_031"
    plan = plan_of(real, apart=True)
    found = cohort.read_cohort(carry_out(plan, tmp_path / "out"))
    for session, modality, name in (
        ("petct", "CT", "CT"),
        ("petct", "PET", "PET"),
        ("petmr-apart", "MR", "MR_T1"),
    ):
        case = found.case("STS_031", session, modality)
        image = nib.load(shared / "real/ibsi_sts/STS_031" / f"{name}_image.nii.gz")
        mask = nib.load(shared / "real/ibsi_sts/STS_031" / f"{name}_mask.nii.gz")
        np.testing.assert_allclose(case.read_image().affine, image.affine, atol=1e-4)
        np.testing.assert_allclose(case.read_image().data, image.get_fdata(), atol=1e-5)
        np.testing.assert_array_equal(case.read_reference().data > 0, mask.get_fdata() > 0)
    assert any("one day after the scan" in n for n in plan.notes)


@pytest.mark.slow
def test_the_real_whole_body_pet_has_the_mass_of_its_patient(shared, tmp_path):
    # 71 kg; the SUV's sum times the voxel is the mass that the dose in view is spread over: 46.9 kg
    found = cohort.read_cohort(carry_out(plan_of(shared / "real/dicom/STS_001"), tmp_path / "out"))
    image = found.cases[0].read_image()
    kilograms = image.data.astype(float).sum() * np.prod(image.spacing_mm) / 1e6
    assert image.data.max() == pytest.approx(66.52, abs=0.01)
    assert kilograms == pytest.approx(46.9, abs=0.1)


def test_a_pixel_of_no_size_is_no_image_and_is_not_counted(tmp_path):
    write_series(tmp_path / "in" / "ct", "CT", CT_GRID)
    write_series(tmp_path / "in" / "pt", "PT", PET_GRID)
    for file in (tmp_path / "in" / "ct").iterdir():
        slice_ = pydicom.dcmread(file)
        slice_.PixelSpacing = [0, 0]
        slice_.save_as(file)
    plan = plan_dicom(tmp_path / "in", read_names())
    assert any("PixelSpacing is 0 x 0 mm. Must be above 0" in why for _, why in plan.left_out)
    assert "1 subjects, 1 images:" in plan.text()
