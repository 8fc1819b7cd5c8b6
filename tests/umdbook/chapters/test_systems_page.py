"""The page on systems says of every official file whether a public hash is known, and what class systems answer."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from umdbook.chapters import supervised
from umdbook.chapters import systems as chapter
from umdlib import published
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.scores.simulated import score_table
from umdlib.scores.table import write_scores


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


COST = {
    "segmenter": "threshold",
    "unit": "one cube",
    "million parameters": 12.34,
    "CPU seconds": 5.0,
    "peak MB": 800,
}
GPU = {"segmenter": "threshold", "encoded": 8, "first structure s": 1.5, "further structure s": 0.25}
GPU |= {"structures": 13, "encoder passes": 1, "peak GPU MB": 4000}


def test_times_stand_under_their_titles_or_a_sentence_says_how_to_make_them(tmp_path):
    path = tmp_path / "times.json"
    assert "`python benchmarks/systems.py` does it." in chapter.cost_markdown(path)
    assert "No system was timed on a GPU yet" in chapter.gpu_markdown(path)
    assert "Its encoder was not timed" in chapter.encoder_markdown(path)
    path.write_text(json.dumps({"rows": [COST]}))
    head, _, row = chapter.cost_markdown(path).splitlines()
    assert head == "| System | Unit of work | Parameters (million) | CPU seconds | Peak memory (MB) |"
    assert row == "| Threshold | one cube | 12.3 | 5.00 | 800 |"
    path.write_text(json.dumps({"rows": [GPU], "gpu": "H", "torch": "2.9", "date": "2026-11-01"}))
    shown = chapter.gpu_markdown(path)
    assert "| Threshold | 8 | 1.50 | 0.25 | 13 | 1 | 4000 |" in shown and shown.endswith(
        "\n\nH, torch 2.9, 2026-11-01."
    )


@pytest.mark.parametrize("content", ["[]", "{}", "no json", '{"rows": [{"segmenter": "a"}]}', '{"rows": 3}'])
def test_a_record_of_something_else_is_refused_by_every_table(tmp_path, content):
    path = tmp_path / "times.json"
    path.write_text(content)
    for write, what in (
        (chapter.cost_markdown, "times of systems"),
        (chapter.gpu_markdown, "times of systems on a GPU"),
        (chapter.encoder_markdown, "times of an encoder"),
    ):
        with pytest.raises(InputError, match=f"File {path} holds no {what}: "):
            write(path)


def test_live_scores_are_a_line_per_structure_with_seconds_of_both_images(tmp_path):
    assert chapter.live_markdown("").startswith("Not part of this run")
    assert chapter.live_markdown(tmp_path / "none.parquet").startswith("Not part of this run")
    table = score_table(n_subjects=1, structures=["liver", "lesion"], gap={"threshold": 0.0}).assign(
        seconds=2.0
    )
    table["dice"] = [0.5, 0.25, 0.75, 1.0]
    write_scores(tmp_path / "scores.parquet", table)
    shown = chapter.live_markdown(tmp_path / "scores.parquet")
    assert "Threshold on subject sub-001: one box in both images. One subject: no interval." in shown
    assert "| Structure | DSC, CT | DSC, PET | Seconds, CT | Seconds, PET |" in shown
    rows = table.set_index(["structure", "modality"])["dice"]
    for name, title in (("liver", "Liver"), ("lesion", "Lesion")):
        assert f"| {title} | {rows[name, 'CT']:.3f} | {rows[name, 'PET']:.3f} | 2 | 2 |" in shown


def test_live_scores_of_several_subjects_are_mean_differences_with_intervals(tmp_path):
    table = score_table(n_subjects=6, structures=["liver", "spleen"], gap={"threshold": -0.3}, seed=2)
    write_scores(tmp_path / "scores.parquet", table.assign(seconds=2.0))
    shown = chapter.live_markdown(tmp_path / "scores.parquet")
    assert "Threshold on 6 subjects, PET/CT, simulated cohort" in shown
    assert "| Structure | n | DSC, CT | DSC, PET | PET − CT |" in shown
    pairs = table.pivot(index="subject", columns=["structure", "modality"], values="dice")
    for name, label in (("liver", "Liver"), ("spleen", "Spleen")):
        change = (pairs[name]["PET"] - pairs[name]["CT"]).mean()
        assert (
            f"| {label} | 6 | {pairs[name]['CT'].mean():.3f} | {pairs[name]['PET'].mean():.3f} | −{-change:.3f} ["
            in shown
        )
    assert shown.count("| All structures | 6 |") == 1


def test_parity_is_summed_up_by_system_and_told_for_every_comparison():
    table = chapter.parity()
    shown = chapter.parity_summary().splitlines()
    assert shown[0] == "| System | Comparisons | Equal in every voxel | Most voxels that differ |"
    assert len(shown) == 2 + table["system"].nunique()
    name, rows = next(iter(table.groupby("system", sort=False)))
    equal = int(rows["differing"].eq(0).sum())
    assert shown[2] == f"| {name} | {len(rows)} | {equal} | {rows['differing'].max()} |"
    every = chapter.parity_markdown()
    assert every.count("::::{dropdown}") == 2 and every.count("- **") == table["system"].nunique()
    assert f"{table['foreground'].iloc[0]:,}" in every and f"{table['per_foreground'].iloc[0]:.2%}" in every


def test_a_card_says_what_a_system_takes_and_whether_it_is_ready():
    text = chapter.card("threshold")
    assert text.startswith("::::{dropdown} Threshold\n")
    assert "- **Takes**: " in text and "- **Weights**: none needed" in text and "Missing here" not in text
    assert "- **Missing here**: " in chapter.card("segvol")
    states = chapter.state_table().set_index("System")
    assert states.loc["Threshold (`threshold`)", ["Runs", "Here"]].tolist() == ["in process", "ready"]
    assert states["Here"].eq("unavailable").any() and set(states["Runs"]) == {
        "in process",
        "in its own environment",
    }


def test_a_cube_that_cuts_no_structure_has_a_ceiling_of_one(make_cohort):
    manifest = make_cohort(1)
    shown = chapter.ceilings_markdown(manifest)
    assert "Mean over 1 structural references" in shown and "| Ball | 1.000 | 1.000 | 1.000 |" in shown
    cohort = read_cohort(manifest)
    pet = pd.read_csv(manifest, sep="\t").query("modality == 'PET'")
    pet.to_csv(manifest, sep="\t", index=False)
    assert len(cohort.cases) == 2
    assert chapter.ceilings_markdown(manifest) == "No structural reference of this cohort holds a structure."
