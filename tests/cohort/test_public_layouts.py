"""Each public set's layout as a tree that the test makes, traps included: imported, checked, scored."""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import phantom
import pytest
from phantom import CT_GRID, PET_GRID, VALUE

from umdlib import cohort
from umdlib.__main__ import main
from umdlib.cohort.importing import ImportOptions, plan_import
from umdlib.cohort.plan import carry_out
from umdlib.errors import InputError
from umdlib.scores import read_scores

TOTALSEG = {"spleen": 1, "kidney_right": 2, "kidney_left": 3, "liver": 5, "stomach": 6, "pancreas": 7}
TOTALSEG |= {"lung": (10, 11, 12, 13, 14), "esophagus": 15, "colon": 20, "urinary_bladder": 21}

LOBES = ("upper_lobe_left", "lower_lobe_left", "upper_lobe_right", "middle_lobe_right", "lower_lobe_right")


def write_image(path, grid, modality, scale=1.0):
    """Write an image whose noise is its own: no two persons have the same."""
    phantom.write_image(path, grid, modality, scale, seed=zlib.crc32("/".join(path.parts[-3:]).encode()))


def imported(kind, source, dest, **options):
    """The cohort of an import, and its plan."""
    plan = plan_import(kind, source, ImportOptions(**options))
    manifest = carry_out(plan, dest)
    found = cohort.read_cohort(manifest)
    assert cohort.check_cohort(found)["fault"].eq("").all()
    return found, plan


def scored(found, tmp_path):
    """Scores of the threshold segmenter."""
    words = [
        "score",
        found.manifest,
        "--segmenters",
        "threshold",
        "--prompts",
        "centre",
        "--out",
        tmp_path / "run",
    ]
    assert main([str(w) for w in words]) == 0
    return read_scores(tmp_path / "run" / "scores.parquet")


def unscored(found, tmp_path):
    """A cohort without references is said to be one: it can be segmented, not scored."""
    words = ["score", str(found.manifest), "--segmenters", "threshold", "--prompts", "centre"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 1
    assert read_scores(tmp_path / "run" / "scores.parquet")["status"].eq("unavailable").all()


def reasons(plan):
    """Why, by the name of what was left out."""
    return {Path(what).name: why for what, why in plan.left_out}


def same_organs(case, names):
    """Whether a reference holds the phantom's organs, by their names in the cohort."""
    label_map = case.read_reference()
    grid = (label_map.affine, label_map.shape)
    value = {s.name: s.value for s in case.structures}
    truth = phantom.organs(grid)
    for name in names:
        mine, theirs = label_map.data == value[name], truth[name]
        dice = 2 * (mine & theirs).sum() / (mine.sum() + theirs.sum())
        assert dice > 0.6, (name, dice)


def test_petwb_rep(tmp_path):
    source = tmp_path / "petwb"
    for subject, deep, suffix in (
        ("sub-0000001-000001", True, "desc-pet_suv"),
        ("sub-0000002-000002", False, "desc-suv_pet"),
    ):
        raw = source / "rawdata" / subject / "ses-01" / "anat"
        write_image(raw / f"{subject}_ses-01_ct.nii.gz", CT_GRID, "CT")
        write_image(raw / f"{subject}_ses-01_desc-resampled_ct.nii.gz", PET_GRID, "CT")
        derived = source / "derivatives" / subject / ("ses-01" if deep else "")
        write_image(derived / f"{subject}_ses-01_{suffix}.nii.gz", PET_GRID, "PET")
    (source / "metadata.csv").write_text(
        "Image ID,Sex,Age,Weight_kg,Disease,Hospital No\nsub-0000001-000001,F,61,58.5,lung cancer,77\n"
        "0000002-000002,M,n/a,80,,78\n"
    )
    (source / "report_en.csv").write_text("Image ID,Report\nsub-0000001-000001,free text of Mrs X\n")
    found, plan = imported("petwb-rep", source, tmp_path / "dest")
    assert len(found.pairs()) == 2 and all(c.reference is None for c in found.cases)
    assert found.table["disease"].tolist() == ["lung cancer"] * 2 + [""] * 2
    assert found.table["weight_kg"].tolist() == ["58.5", "58.5", "80", "80"]
    assert set(found.table["citation"]) == {"10.1038/s41597-026-07058-w"}
    why = reasons(plan)
    assert why["report_en.csv"] == "free text of a report"
    assert "resampled copy" in why["sub-0000001-000001_ses-01_desc-resampled_ct.nii.gz"]
    assert "Hospital No" in " ".join(plan.notes)
    assert not any("Mrs X" in p.read_text() for p in tmp_path.glob("dest*/*.tsv"))
    unscored(found, tmp_path)


def enhance(source, units=("BQML", "CNTS")):
    """The tree of ENHANCE.PET: numbers in both image folders, groups of labels, a workbook of details."""
    rows = []
    for number, unit in enumerate(units, start=1):
        name = f"{number:04d}.nii.gz"
        phantom.write_image(source / "imaging-data/images/CT_0001-1000" / name, CT_GRID, "CT", seed=number)
        # 70 kg, 350 MBq, one half-life: SUV 1 is 350e6 / 2 / 70000 = 2500 Bq/ml
        phantom.write_image(
            source / "imaging-data/images/PT_0001-1683" / name, PET_GRID, "PET", 2500.0, seed=number
        )
        truth = source / "imaging-data/ground-truth"
        organ = {"urinary_bladder": 3, "brain": 4, "kidney_left": 6, "kidney_right": 7, "liver": 8}
        organ |= {"lung": (9, 10, 11, 12, 13), "pancreas": 14, "spleen": 15, "stomach": 16}
        phantom.write_labels(truth / "Organs" / name, CT_GRID, organ)
        phantom.write_labels(truth / "Cardiac" / name, CT_GRID, {"heart": (1, 2, 3, 4, 5), "aorta": 6})
        phantom.write_labels(truth / "Ribs" / name, CT_GRID, {})
        source_of = "AutoPET Challenge" if number == 1 else "Azienda Ospedaliero Universitaria Careggi (IT)"
        rows.append(
            {
                "ID": name,
                "Data-Source": source_of,
                "PatientSex": "M",
                "PatientAge": "061Y",
                "PatientWeight": "70",
                "Units": unit,
            }
            | {
                "RadionuclideTotalDose": "350000000",
                "RadionuclideHalfLife": "6586.2",
                "SeriesTime": "104946.2",
            }
            | {"RadiopharmaceuticalStartTime": "090000", "DecayCorrection": "START"}
        )
    pd.DataFrame(rows).to_excel(source / "PT-details.xlsx", index=False)
    (source / "labels.json").write_text('{"clin_ct_organs": {"3": "bladder", "8": "liver"}}')
    return source


def test_enhance_pet_joins_lobes_and_chambers_and_makes_suv(tmp_path):
    found, plan = imported("enhance-pet", enhance(tmp_path / "enhance"), tmp_path / "dest")
    assert [c.name for c in found.cases] == ["sub-0001_petct_CT", "sub-0001_petct_PET", "sub-0002_petct_CT"]
    names = [s.name for s in found.structures]
    assert len(names) == 10 and not {"brain", "colon", "esophagus"} & set(names)
    for case in found.cases:
        same_organs(case, set(names) - {"esophagus"})
    pet = found.case("sub-0001", "petct", "PET").read_image()
    np.testing.assert_allclose(pet.data, phantom.image(PET_GRID, "PET", 1).data, rtol=1e-4, atol=1e-4)
    assert found.table["licence"].tolist() == ["CC BY-NC 4.0"] * 2 + ["CC BY 4.0"]
    assert found.table["age"].tolist() == ["61"] * 3
    cnts = next(why for what, why in plan.left_out if what.endswith("0002.nii.gz"))
    assert "Philips" in cnts and "(7053,xx00)" in cnts
    scores = scored(found, tmp_path)
    assert set(scores["structure"]) == set(names) and scores["status"].ne("failed").all()


def test_enhance_pet_tells_where_labels_json_differs(tmp_path):
    source = enhance(tmp_path / "enhance", ("BQML",))
    (source / "labels.json").write_text('{"clin_ct_organs": {"8": "spleen"}}')
    plan = plan_import("enhance-pet", source)
    assert any("calls value 8 of Organs 'spleen', the name map 'liver'" in n for n in plan.notes)


@pytest.mark.parametrize("tracer", ["fdg", "psma"])
def test_autopet_as_nnunet(tmp_path, tracer):
    source = tmp_path / "autopet"
    for study in ("2020-01-01-NA-PET-1", "2021-01-01-NA-PET-2"):
        case = f"{tracer}_ab12cd_{study}"
        write_image(source / "imagesTr" / f"{case}_0000.nii.gz", PET_GRID, "CT")
        write_image(source / "imagesTr" / f"{case}_0001.nii.gz", PET_GRID, "PET")
        phantom.write_labels(source / "labelsTr" / f"{case}.nii.gz", PET_GRID, {"liver": 1})
    (source / "dataset.json").write_text(
        '{"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}, "file_ending": ".nii.gz"}'
    )
    found, plan = imported("autopet", source, tmp_path / "dest")
    assert found.sessions() == ["petct-1", "petct-2"] and len(found.subjects()) == 1
    assert set(found.table.loc[found.table["modality"] == "PET", "tracer"]) == {tracer.upper()}
    assert [s.name for s in found.structures] == ["tumour"]
    assert not any(
        "2020" in str(v) for v in found.table.drop(columns=["image", "reference"]).to_numpy().ravel()
    )
    assert len(scored(found, tmp_path)) == 4


def autopet_folders(source):
    """autoPET's FDG folders: three studies of two patients."""
    studies = (
        ("PETCT_0a1b2c", "01-01-2000-NA-PET-1"),
        ("PETCT_0a1b2c", "02-01-2001-NA-PET-2"),
        ("PETCT_9f8e7d", "03-03-2003-NA-x.1"),
    )
    for patient, study in studies:
        place = source / patient / study
        write_image(place / "SUV.nii.gz", PET_GRID, "PET")
        write_image(place / "CTres.nii.gz", PET_GRID, "CT")
        write_image(place / "CT.nii.gz", CT_GRID, "CT")
        write_image(place / "PET.nii.gz", PET_GRID, "PET", 5000.0)
        phantom.write_labels(place / "SEG.nii.gz", PET_GRID, {"stomach": 1})


def test_autopet_as_folders_takes_the_images_on_one_grid(tmp_path):
    autopet_folders(tmp_path / "fdg")
    found, plan = imported("autopet", tmp_path / "fdg", tmp_path / "dest")
    assert [c.image.name for c in found.cases] == ["CTres.nii.gz", "SUV.nii.gz"] * 3
    assert found.sessions() == ["petct", "petct-1", "petct-2"]
    assert len(scored(found, tmp_path)) == 6
    assert "Bq/ml" in reasons(plan)["PET.nii.gz"] and "own grid" in reasons(plan)["CT.nii.gz"]


def test_autopet_organ_finds_its_studies_and_joins_the_lobes(tmp_path):
    autopet_folders(tmp_path / "fdg")
    values = {"liver": 1, "kidney_left": 2, "kidney_right": 3, "heart": 4, "spleen": 5, "aorta": 6}
    flipped = PET_GRID[0] @ np.array([[-1.0, 0, 0, 36], [0, -1, 0, 26], [0, 0, 1, 0], [0, 0, 0, 1]])
    for name, lobes in (
        ("PETCT_0a1b2c_01-01-2000-NA-PET-1_", (7, 8, 9, 10, 11, 12)),
        ("PETCT_9f8e7d_03-03-2003-NA-x.1_", (7, 8, 9, 10, 11)),
    ):
        phantom.write_labels(
            tmp_path / "organs" / f"{name}.nii.gz", (flipped, PET_GRID[1]), values | {"lung": lobes}
        )
    found, plan = imported("autopet", tmp_path / "fdg", tmp_path / "dest", organs=tmp_path / "organs")
    assert len(found.pairs()) == 2 and set(found.sessions()) == {"petct"}
    for case in found.cases:
        same_organs(case, [*values, "lung"])
    assert sum("without labels of AutoPET-Organ" in why for _, why in plan.left_out) == 2
    assert set(scored(found, tmp_path)["structure"]) == {*values, "lung"}


def test_organ_maps_of_autopet_iii_tell_the_kidneys_apart(tmp_path):
    autopet_folders(tmp_path / "fdg")
    values = {"spleen": 1, "kidney_left": 2, "kidney_right": 2, "liver": 3, "urinary_bladder": 4, "lung": 5}
    values |= {"brain": 6, "heart": 7, "stomach": 8, "pancreas": 9, "esophagus": 10}
    for name in ("fdg_9f8e7d", "fdg_0a1b2c"):
        phantom.write_labels(tmp_path / "organs" / f"{name}.nii.gz", PET_GRID, values)
    found, plan = imported("autopet", tmp_path / "fdg", tmp_path / "dest", organs=tmp_path / "organs")
    assert [c.subject for c in found.cases] == ["PETCT_9f8e7d"] * 2
    names = set(values) - {"pancreas", "esophagus"}  # here the prostate and the glands of the head
    assert {s.name for s in found.structures} == names
    same_organs(found.cases[1], names)
    assert sum("does not say to which of its studies" in why for _, why in plan.left_out) == 4
    assert set(scored(found, tmp_path)["structure"]) == names


def test_one_kidney_is_not_cut_into_two(tmp_path):
    autopet_folders(tmp_path / "fdg")
    phantom.write_labels(tmp_path / "organs/fdg_9f8e7d.nii.gz", PET_GRID, {"kidney_left": 2, "liver": 3})
    found, plan = imported("autopet", tmp_path / "fdg", tmp_path / "dest", organs=tmp_path / "organs")
    assert set(np.unique(found.cases[0].read_reference().data)) == {0, VALUE["liver"]}
    assert any("kidney_left|kidney_right cannot be told apart" in n for n in plan.notes)


def test_deep_psma_is_two_sessions_with_a_tracer_each(tmp_path):
    source = tmp_path / "deep"
    for tracer in ("PSMA", "FDG"):
        place = source / "train_0001" / tracer
        write_image(place / "CT.nii.gz", CT_GRID, "CT")
        write_image(place / "PET.nii.gz", PET_GRID, "PET")
        phantom.write_labels(place / "TTB.nii.gz", PET_GRID, {"stomach": 1})
        phantom.write_labels(place / "totseg_24.nii.gz", CT_GRID, TOTALSEG)
        (place / "threshold.json").write_text('{"suv_threshold": 3.0}')
        (place / "rigid.tfm").write_text("#Insight Transform File V1.0\n")
    found, plan = imported("deep-psma", source, tmp_path / "dest")
    assert found.sessions() == ["petct-fdg", "petct-psma"]
    assert found.case("train_0001", "petct-psma", "PET").reference.parent.name == "references"
    for case in found.cases:
        same_organs(case, ["liver", "lung", "spleen", "kidney_left"])
    assert set(scored(found, tmp_path)["session"]) == {"petct-fdg", "petct-psma"}
    lesions, _ = imported("deep-psma", source, tmp_path / "lesions", target="lesions")
    assert [s.name for s in lesions.structures] == ["lesion"]


def test_bic_mac_leaves_out_what_is_not_attenuation_corrected(tmp_path):
    source = tmp_path / "bic"
    for subject, corrected in (("sub-000", True), ("sub-001", False)):
        place = source / "train" / subject
        write_image(place / "features/nacpet.nii.gz", PET_GRID, "PET", 0.01)
        write_image(place / "features/mri_combined_in_phase.nii.gz", CT_GRID, "MR")
        write_image(place / "features/mri_combined_out_phase.nii.gz", CT_GRID, "MR")
        write_image(place / "ct-label/ct.nii.gz", CT_GRID, "CT")
        phantom.write_labels(
            place / "ct-label/organ_seg.nii.gz", CT_GRID, TOTALSEG | {"heart": 51, "aorta": 52, "brain": 90}
        )
        phantom.write_labels(place / "ct-label/body_seg.nii.gz", CT_GRID, {"liver": 1})
        if corrected:
            write_image(place / "pet-label/acpet.nii.gz", PET_GRID, "PET")
            phantom.write_labels(place / "pet-label/organ_seg.nii.gz", PET_GRID, TOTALSEG)
    found, plan = imported("bic-mac", source, tmp_path / "dest")
    assert [c.name for c in found.cases] == [
        "sub-000_petct_CT",
        "sub-000_petct_PET",
        "sub-000_petmr_MR",
        "sub-000_petmr_PET",
        "sub-001_petct_CT",
        "sub-001_petmr_MR",
    ]
    assert found.table.set_index("modality").loc["MR", "placement"].tolist() == ["rigid"] * 2
    assert sum("not attenuation corrected" in why for _, why in plan.left_out) == 2
    assert len(found.structures) == 13
    scores = scored(found, tmp_path)
    assert scores.loc[scores["subject"] == "sub-001", "modality"].nunique() == 2


def test_totalsegmentators_mr_set(tmp_path):
    place = tmp_path / "set/s0001"
    write_image(place / "mri.nii.gz", CT_GRID, "MR")
    phantom.write_mask(place / "segmentations/liver.nii.gz", CT_GRID, phantom.organs(CT_GRID)["liver"])
    found, _ = imported("totalsegmentator", tmp_path / "set", tmp_path / "dest")
    assert [c.name for c in found.cases] == ["s0001_petmr_MR"] and len(scored(found, tmp_path)) == 1


def test_totalsegmentator_masks_become_one_label_map(tmp_path):
    source = tmp_path / "totalseg"
    place = source / "s0000"
    write_image(place / "ct.nii.gz", CT_GRID, "CT")
    masks = phantom.organs(CT_GRID)
    for name, mask in masks.items():
        if name == "lung":
            for lobe, piece in zip(LOBES, phantom.parts(mask, 5), strict=True):
                phantom.write_mask(place / f"segmentations/lung_{lobe}.nii.gz", CT_GRID, piece)
        else:
            phantom.write_mask(place / f"segmentations/{name}.nii.gz", CT_GRID, mask)
    phantom.write_mask(place / "segmentations/rib_left_1.nii.gz", CT_GRID, masks["heart"])
    phantom.write_mask(place / "segmentations/appendix_new.nii.gz", CT_GRID, masks["heart"])
    (source / "meta.csv").write_text("image_id;age;gender;institute\ns0000;63;m;A\n")
    found, plan = imported("totalsegmentator", source, tmp_path / "dest")
    (case,) = found.cases
    truth = sum(VALUE[name] * mask.astype(int) for name, mask in masks.items())
    np.testing.assert_array_equal(case.read_reference().data, truth)
    assert reasons(plan)["rib_left_1.nii.gz"] == "a structure that is left out on purpose"
    assert "not a known structure" in reasons(plan)["appendix_new.nii.gz"]
    assert found.table.loc[0, ["age", "sex"]].tolist() == ["63", "M"]
    assert len(scored(found, tmp_path)) == 13


def test_ibsi_does_not_call_an_mr_of_another_day_pet_mr(tmp_path):
    for name, grid in (("CT", CT_GRID), ("PET", PET_GRID), ("MR_T1", CT_GRID)):
        write_image(tmp_path / "sts/STS_001" / f"{name}_image.nii.gz", grid, name.split("_")[0])
        phantom.write_labels(tmp_path / "sts/STS_001" / f"{name}_mask.nii.gz", grid, {"liver": 1})
    found, plan = imported("ibsi", tmp_path / "sts", tmp_path / "dest")
    assert [c.name for c in found.cases] == ["STS_001_petct_CT", "STS_001_petct_PET"]
    assert "MR of another day" in reasons(plan)["MR_T1_image.nii.gz"]
    assert all(c.reference.parent.name == "STS_001" for c in found.cases)  # used where they lie
    apart, plan = imported("ibsi", tmp_path / "sts", tmp_path / "apart", apart=True)
    assert apart.sessions() == ["petct", "petmr-apart"] and "not independent" in " ".join(plan.notes)
    assert len(scored(found, tmp_path)) == 2


@pytest.mark.parametrize(
    "kind", ["petwb-rep", "enhance-pet", "autopet", "deep-psma", "bic-mac", "totalsegmentator", "ibsi"]
)
def test_a_folder_of_another_layout_is_refused_in_words(tmp_path, kind):
    write_image(tmp_path / "a" / "b" / "volume_1.nii.gz", CT_GRID, "CT")
    with pytest.raises(InputError, match=r"No (image|file|sub)|does not exist"):
        plan_import(kind, tmp_path)
