"""The page on systems says of every official file whether a public hash is known, and what class systems answer."""

from __future__ import annotations

import json

import pytest

from umdbook.chapters import supervised
from umdbook.chapters import systems as chapter
from umdlib import published
from umdlib.errors import InputError


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


def test_ways_to_compute_an_encoder_are_told_beside_the_published_one(tmp_path):
    rows = [("as published", 2.0, 0), ("another way", 1.0, 3)]
    names = ("way", "cpu_seconds", "differing_voxels")
    made = [dict(zip(names, row, strict=True)) | {"foreground_voxels": 1200, "slices": 4} for row in rows]
    path = tmp_path / "encoder.json"
    path.write_text(json.dumps({"rows": made}))
    shown = chapter.encoder_markdown(path)
    assert "| another way | 1.00 | 2.00 | 3 |" in shown and "(1,200 voxels)" in shown
    path.write_text("{}")
    with pytest.raises(InputError, match="holds no times of an encoder"):
        chapter.encoder_markdown(path)
