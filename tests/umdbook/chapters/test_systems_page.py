"""The page on systems says of every official file whether a public hash is known, and what class systems answer."""

from __future__ import annotations

import pytest

from umdbook.chapters import supervised
from umdbook.chapters import systems as chapter
from umdlib import published


def test_the_table_of_weights_is_never_silent_about_a_hash():
    table = chapter.weights_table()
    assert table["Hash"].str.match(r"published (sha256|md5) |no public hash known: hashed at first use").all()
    words = table.set_index("System")["Hash"]
    for name in ("SegVol", "SAT-Pro", "SegAnyPET v2", "MOOSE"):
        assert words[name] == "no public hash known: hashed at first use"
    assert words["SAM-Med3D-turbo"] == "published sha256 899a46d04d3b…"
    assert words["nnInteractive"] == "published sha256 of each file"
    assert not table["System"].str.contains("trained here").any()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("totalsegmentator_mr", "no public hash known: hashed at first use"),
        ("mrsegmentator", "7 files below `mrsegmentator` from release v1.2.0"),
        ("medsam", "no public hash known: hashed at first use"),
    ],
)
def test_a_card_says_where_files_come_from_and_what_is_known_of_them(name, words):
    assert words in chapter.card(name)


def test_the_page_says_which_structures_class_systems_answer():
    table = chapter.structures_table().set_index("System")
    assert table.loc["TotalSegmentator", "Of 13 structures"] == 13
    assert table.loc["MRSegmentator", "Not"] == "Brain"
    assert tuple(table.loc["LION", ["Not", "Also"]]) == ("all of them", "Lesion")


def test_printed_networks_of_pet_alone_stand_beside_the_papers_own():
    printed = published.read("umd_table3")
    shown = supervised.pet_only_layout(printed, published.read_pet_only())
    assert shown["mean DSC printed"].tolist() == [
        "0.605",
        "0.560",
        "0.81",
        "0.82",
        "0.77",
        "0.79",
        "0.816 to 0.834",
    ]
    assert shown["organs"].tolist() == ["13", "13", "22", "22", "15", "15", "23"]
