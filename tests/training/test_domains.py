"""Domains differ from the training cohort in what they name, and in nothing else."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from umdlib.cohort import check_cohort, read_cohort
from umdlib.errors import InputError
from umdlib.training import domains

GIVEN = (7, "petct", 8.0, None)
_draw = domains.draw_pair


@functools.cache
def _drawn(name: str, number: int):
    return _draw(domains.DOMAINS[name], number, *GIVEN)


def pair(name: str, number=0):
    """A pair of a domain, drawn once for all tests, which leave it as it is."""
    return _drawn(name, number)


def test_the_same_persons_in_every_domain_but_for_what_it_fixes():
    same, scanner, tracer = pair("same"), pair("scanner"), pair("tracer")
    np.testing.assert_array_equal(same.anatomy.tissue, scanner.anatomy.tissue)
    np.testing.assert_array_equal(same.structural_reference.data, tracer.structural_reference.data)
    np.testing.assert_array_equal(same.structural.data, tracer.structural.data)
    spleen = same.pet_reference.data == 6
    brain = same.pet_reference.data == 4
    ratio = tracer.pet.data[spleen].mean() / same.pet.data[spleen].mean()
    assert 2 < ratio < 4
    assert tracer.pet.data[brain].mean() < 0.3 * same.pet.data[brain].mean()
    fat = np.isclose(same.structural.data, -100, atol=60)
    assert scanner.structural.data[fat].std() > same.structural.data[fat].std()


def test_without_motion_the_structural_image_and_the_references_are_the_same():
    same, still = pair("same"), pair("still")
    np.testing.assert_array_equal(same.structural.data, still.structural.data)
    np.testing.assert_array_equal(same.pet_reference.data, still.pet_reference.data)
    bladder = same.pet_reference.data == 10
    moved = np.abs(same.pet.data - still.pet.data)
    assert moved.max() > 1 and bladder.any()


def test_other_bodies_are_as_named():
    short, tall = (pair("bodies", n).anatomy.person for n in (0, 1))
    assert (short.height_cm, round(short.bmi)) == (152.0, 38)
    assert (tall.height_cm, round(tall.bmi, 1)) == (196.0, 17.5)


def test_a_domain_on_disk_is_a_cohort(tmp_path, monkeypatch):
    def drawn(domain, number, *given):
        assert given == GIVEN
        return pair(next(name for name, known in domains.DOMAINS.items() if known is domain), number)

    monkeypatch.setattr(domains, "draw_pair", drawn)
    manifest = domains.write_domains(tmp_path, names=["same", "tracer"], subjects=1, seed=7, spacing_mm=8.0)
    found = read_cohort(manifest)
    assert [c.modality for c in found.cases] == ["CT", "PET"] * 2
    assert found.table["domain"].tolist() == ["same"] * 2 + ["tracer"] * 2
    assert found.subjects() == ["same-001", "tracer-001"]
    assert not check_cohort(found)["fault"].any()


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'tracer'"):
        domains.write_domains(tmp_path, names=["tracr"])
    with pytest.raises(InputError, match="needs 2 label maps, 0 were given"):
        domains.write_domains(tmp_path, names=["organ_maps"])
    with pytest.raises(InputError, match="Unknown tissue with an uptake 'spln'"):
        domains.scaled(pair("same").anatomy.person, {"spln": 2.0})


def test_real_organs_become_a_pair(shared, tmp_path):
    maps = domains.organ_maps(shared / "real" / "organ_maps")
    assert len(maps) == 16
    manifest = domains.write_domains(
        tmp_path, names=["organ_maps"], subjects=1, seed=1, spacing_mm=8.0, maps=maps
    )
    reference = read_cohort(manifest).cases[0].read_reference()
    present = set(np.unique(reference.data)) - {0}
    assert {1, 2, 3, 4, 5, 6, 8} <= present  # liver, kidneys, brain, heart, spleen, lung
    assert not present & {7, 9, 11, 12}  # never labelled in these maps
