"""Parts of a cohort: every subject in one of them, about as many voxels in each."""

import numpy as np
import pytest

from umdlib.cohort.manifest import read_cohort
from umdlib.cohort.shards import shard_subjects
from umdlib.errors import InputError
from umdlib.images.header import voxel_count
from umdlib.images.volume import LabelMap, write_label_map


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, write_cohort):
    """Four subjects; the images of the first hold as many voxels as those of the other three together."""
    found = read_cohort(write_cohort(tmp_path_factory.mktemp("cohort"), 4))
    for case in found.cases:
        k = 6 if case.subject == "sub-001" else 2
        write_label_map(case.image, LabelMap(np.ones((5, 4, k), np.uint8), np.eye(4)))
    return found


def test_parts_hold_every_subject_once_and_about_as_many_voxels(cohort):
    parts = [shard_subjects(cohort, "petct", k, 2) for k in range(2)]
    assert parts == [["sub-001"], ["sub-002", "sub-003", "sub-004"]]  # and not two by two
    many = [shard_subjects(cohort, "petct", k, 6) for k in range(6)]
    assert sorted(s for part in many for s in part) == cohort.subjects("petct") and many[4:] == [[], []]
    assert shard_subjects(cohort, "petct", 0, 1) == list(cohort.subjects("petct"))


def test_subjects_whose_headers_cannot_be_read_are_shared_out_by_number(cohort, monkeypatch):
    monkeypatch.setattr("umdlib.cohort.shards.voxel_count", lambda path: 0)
    assert [len(shard_subjects(cohort, "petct", k, 2)) for k in range(2)] == [2, 2]


def test_a_part_that_is_none_is_refused(cohort):
    with pytest.raises(InputError, match="Invalid shard 2 of 2"):
        shard_subjects(cohort, "petct", 2, 2)


def test_voxels_are_counted_by_the_header(cohort, tmp_path):
    assert voxel_count(cohort.cases[0].image) == 5 * 4 * 6
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8bnothing")
    assert voxel_count(tmp_path / "a.nii.gz") == 0
