"""The page of checks: findings first, a picture of each examination, and a word where there is none."""

import pandas as pd
import pytest

from umdbook.chapters import checks as chapter
from umdlib import cohort


@pytest.fixture
def checked(make_cohort):
    manifest = make_cohort(3)
    damaged = manifest.parent / "sub-002_PET.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    return cohort.check_manifest(manifest)


def test_those_with_a_finding_come_first_and_none_is_lost(checked):
    found, report = checked
    chosen = chapter.examinations(found, report.findings, 9)
    assert chosen[0][0].subject == "sub-002" and len(chosen) == 3
    assert len(chapter.examinations(found, report.findings, 2)) == 2


def test_every_examination_has_two_pictures_or_a_word(checked):
    found, report = checked
    figure = chapter.pictures(chapter.examinations(found, report.findings, 9), report.findings)
    assert sum(bool(ax.images) for ax in figure.axes) == 5
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0].startswith("sub-002") and "finding" in titles[0]
    assert [t.get_text() for ax in figure.axes if not ax.images for t in ax.texts] == ["cannot be read"]
    outlined = [ax for ax in figure.axes if ax.images and ax.collections]
    assert len(outlined) == 5


def test_findings_say_nothing_of_the_machines_folders(checked):
    found, report = checked
    table = chapter.findings_table(report.findings, found)
    assert "sub-002_PET.nii.gz" in table["finding"][0]
    assert str(found.manifest.parent) not in table.to_string()
    assert "1 fault" in chapter.words(found, report.findings)
    none = chapter.findings_table(report.findings.iloc[:0], found)
    assert "No fault, no doubt, no note." in none


def test_every_limit_is_a_number_of_the_checks():
    table = chapter.checks_table()
    assert isinstance(table, pd.DataFrame) and table["check"].is_unique
    assert "10, or 2 voxels" in set(table["limit"])
