"""Planted faults are named by the canaries, and the cards and records of systems are whole."""

from __future__ import annotations

import json

import pytest

from umdbook.chapters import systems
from umdlib import segmenters
from umdlib.canaries import simulation
from umdlib.errors import InputError


def test_each_planted_fault_is_named_and_the_right_wiring_is_not():
    named = simulation.verdicts(n_subjects=3).set_index("planted")["named"]
    assert named["as it should be"] == "no alarm"
    assert "swapped_structures" in named["own label values as class ids"]
    assert named["untrained super-classes"] == "dead_structure"
    assert named["crop offset lost"] == "shifted"
    assert named["left and right flipped"] == "flipped"
    assert named["no weights loaded"] == "always_empty"


def test_with_own_values_as_ids_only_the_liver_survives():
    """Label 1 is the liver in both numberings; 2 to 13 are other organs or none."""
    column = simulation.columns(n_subjects=1)["own label values as class ids"]
    assert column["liver"] == 1
    assert (column.drop("liver") < 0.5).all()
    assert column["kidney_left"] == 0  # id 2 is a super-class that was never trained


def test_every_system_has_a_card():
    text = systems.cards()
    for name in segmenters.names():
        assert f"{{dropdown}} {segmenters.get(name).title}\n" in text
    assert len(systems.state_table()) == len(segmenters.names())


def test_parity_is_within_the_named_tolerance_and_every_tolerance_has_its_reason():
    table = systems.parity()
    assert (table["differing"] <= table["tolerance"]).all()
    assert (table.loc[table["tolerance"] > 0, "why"] != "").all()
    assert "| VISTA3D | class liver |" in systems.parity_markdown()


def test_the_cost_of_systems_is_what_the_benchmark_wrote(tmp_path):
    file = tmp_path / "systems.json"
    assert "No full-size system was timed" in systems.cost_markdown(file)
    row = {
        "segmenter": "litemedsam",
        "unit": "one slice",
        "million parameters": 9.8,
        "CPU seconds": 1.25,
        "peak MB": 700,
    }
    file.write_text(json.dumps({"rows": [row]}), "utf-8")
    assert "| LiteMedSAM | one slice | 9.8 | 1.25 | 700 |" in systems.cost_markdown(file)
    file.write_text("{}", "utf-8")
    with pytest.raises(InputError, match="holds no times of systems"):
        systems.cost_markdown(file)


def test_what_was_timed_on_a_gpu_is_shown_and_nothing_before(tmp_path):
    file = tmp_path / "gpu.json"
    assert "No system was timed on a GPU yet" in systems.gpu_markdown(file)
    row = {"segmenter": "vista3d", "structures": 13, "first structure s": 9.5, "further structure s": 0.4}
    row |= {"encoder passes": 4, "peak GPU MB": 9000, "encoded": ""}
    file.write_text(json.dumps({"gpu": "A card", "torch": "2.8", "date": "2026-11-30", "rows": [row]}))
    shown = systems.gpu_markdown(file)
    assert "| VISTA3D |  | 9.50 | 0.40 | 13 | 4 | 9000 |" in shown and "A card, torch 2.8" in shown
    file.write_text("{}")
    with pytest.raises(InputError, match="holds no times of systems on a GPU"):
        systems.gpu_markdown(file)
