"""Lesions as a cohort of their own: both images of an examination name the same ones."""

from dataclasses import replace

import numpy as np
import pytest

from umdlib.__main__ import main
from umdlib.cohort.lesions import by_size, lesion_file, write_lesion_cohort
from umdlib.cohort.manifest import read_cohort, write_manifest
from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, Volume, read_label_map, write_label_map, write_volume

CT, PET = np.diag([2.0, 2, 2, 1]), np.diag([-4.0, 4, 4, 1])
PET[0, 3] = 76


@pytest.fixture
def cohort(tmp_path):
    """A large lesion, and a small one that begins 4 mm beside it: one component on the coarse PET grid, mirrored."""
    rows = []
    for modality, affine, n, unit in (("CT", CT, 40, "HU"), ("PET", PET, 20, "SUV")):
        lesions = np.zeros((n, n, n), np.uint8)
        step = n // 20  # voxels of 4 mm
        first, second = (slice(4, 9), slice(10, 12)) if modality == "CT" else (slice(11, 16), slice(8, 11))
        for part, wide in ((first, slice(5, 9)), (second, slice(5, 6))):
            lesions[part.start * step : part.stop * step, wide.start * step : wide.stop * step, 12 * step] = 1
        places = [tmp_path / f"{modality}{end}.nii.gz" for end in ("", "_dseg", "_label-lesion_dseg")]
        write_volume(places[0], Volume(np.zeros((n, n, n), np.float32), affine, unit))
        for place, data in ((places[1], np.ones_like(lesions)), (places[2], lesions)):
            write_label_map(place, LabelMap(data, affine))
        row = {"subject": "a", "session": "petct", "modality": modality, "unit": unit}
        rows.append(row | {"image": places[0].name, "reference": places[1].name})
    return read_cohort(write_manifest(tmp_path / "manifest.tsv", rows))


def test_components_are_numbered_by_size():
    mask = np.zeros((1, 1, 9), bool)
    mask[0, 0, [0, 2, 3, 5, 6, 7]] = True
    assert by_size(mask)[0, 0].tolist() == [3, 0, 2, 2, 0, 1, 1, 1, 0]


def test_a_voxel_on_pet_has_the_number_of_the_nearest_lesion_of_the_structural_image(cohort, tmp_path):
    lesions = read_cohort(write_lesion_cohort(cohort, tmp_path / "lesions"))
    assert [s.name for s in lesions.structures] == ["lesion_01", "lesion_02"]
    ct, pet = (c.read_reference() for c in lesions.cases)
    assert np.bincount(ct.data.ravel()).tolist()[1:] == [80, 8]
    # at 4 mm the two touch; what lies on the side of the small one is its own
    assert np.bincount(pet.data.ravel()).tolist()[1:] == [21, 2]
    assert set(np.argwhere(pet.data == 2)[:, 0]) == {8, 9}
    assert lesions.cases[1].image.samefile(cohort.cases[1].image)


def test_what_has_no_lesions_is_refused_in_words(cohort, tmp_path, capsys):
    assert main(["subset", str(cohort.manifest), str(tmp_path / "b"), "--lesions", "--subjects", "a"]) == 2
    assert "Must be alone" in capsys.readouterr().err
    before = cohort.manifest.read_bytes()
    with pytest.raises(InputError, match="holds the cohort itself"):
        write_lesion_cohort(cohort, cohort.manifest.parent)
    assert cohort.manifest.read_bytes() == before
    organs = replace(cohort.cases[0], reference=cohort.cases[0].reference.with_name("CT_seg.nii.gz"))
    with pytest.raises(InputError, match="lacks '_dseg'"):
        lesion_file(organs)
    lesion_file(cohort.cases[0]).unlink()
    with pytest.raises(InputError, match="synthesise OUT --lesions"):
        write_lesion_cohort(cohort, tmp_path / "b")
    assert read_label_map(lesion_file(cohort.cases[1])).data.any()
