"""The chapter on the cohort: what it lists and draws of any cohort."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import cohort as chapter
from umdlib.cohort.manifest import read_cohort

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def test_examinations_are_listed_once_and_mixed_by_session(make_cohort):
    cohort = read_cohort(make_cohort(2))
    people = chapter.people(cohort)
    assert len(people) == len(chapter.mixed_pairs(cohort)) == 2
    assert "modality" not in people and people["session"].eq("PET/CT").all()


def test_a_structure_outside_its_range_is_named_and_every_subject_is_a_point():
    organs = pd.DataFrame(
        {"subject": ["a", "b"], "session": "petct", "modality": "PET", "unit": "SUV", "structure": "liver"}
    ).assign(volume_ml=1500.0, mean=[2.2, 40.0], sd=0.1)
    ranges = chapter.range_table(organs)
    assert (
        "Liver" in (outside := chapter.outside_table(ranges))
        and "50%" in outside
        and "n_subjects" not in outside
    )
    assert chapter.inside_words(ranges) == "50% lie"
    ax = chapter.range_figure(organs, "PET")
    assert sorted(ax.collections[0].get_offsets()[:, 0]) == [2.2, 40.0]
    assert ax.get_xscale() == "log"
    assert not chapter.range_figure(organs.assign(structure="tumour"), "PET").axison
    assert "0 lie" in chapter.inside_words(ranges[:0])


def test_what_was_planned_is_a_point_and_what_was_not_is_none():
    names = ("liver_cov", "fwhm_mm", "dome_mm")
    physics = pd.DataFrame({"subject": ["a", "b"], "session": ["petct", "petmr"]})
    physics = physics.assign(**dict.fromkeys(names, 1.0), **{f"{n}_planned": [0.5, np.nan] for n in names})
    axes = chapter.agreement_figures(physics)
    assert [len(ax.collections[0].get_offsets()) for ax in axes] == [1, 1, 1]
    assert all(not ax.collections for ax in chapter.agreement_figures(physics[:0]))
    shown = chapter.physics_markdown(physics)
    assert "noise, true" in shown and "liver_cov" not in shown
