"""Released weights: three files that belong together, or an error that says which does not."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.weights import card

torch = pytest.importorskip("torch")
LOG = pd.DataFrame({"step": [1, 2], "loss": [0.9, 0.5]})


def a_card(**changes) -> card.Card:
    values = {
        "name": "toy",
        "title": "Toy",
        "architecture": {"layers": 1},
        "parameters": 6,
        "data": {"cohort": "c", "seed": 3, "subjects": 2, "spacing_mm": 6.0, "modalities": ["CT"]},
        "settings": {"steps": 2},
        "code_version": "0",
        "cost": {"cpu_seconds": 60.0, "wall_seconds": 90.0, "cores": 1, "device": "cpu"},
    }
    return card.Card(**{**values, **changes})


@pytest.fixture
def folder(tmp_path):
    card.write(a_card(), {"w": torch.arange(6.0).reshape(2, 3)}, LOG, folder=tmp_path)
    return tmp_path


def test_what_was_written_comes_back(folder):
    assert card.names(folder=folder) == ["toy"]
    assert card.read("toy", folder=folder).data["seed"] == 3
    state = card.read_state("toy", folder=folder)
    assert state["w"].dtype == torch.float32
    assert state["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert card.read_log("toy", folder=folder)["loss"].tolist() == [0.9, 0.5]
    cost = card.cost_table(["toy"], folder=folder).iloc[0]
    assert (cost["cpu_minutes"], cost["iterations"]) == (1, 2)


def test_one_changed_byte_is_named(folder):
    path = card.files("toy", folder)["weights"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"toy.safetensors have sha256 \w+…, not \w+… of their"):
        card.read_state("toy", folder=folder)


def test_a_truncated_and_a_missing_file_are_named(folder):
    path = card.files("toy", folder)["weights"]
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=f"hold {size - 2} bytes, not {size}"):
        card.check("toy", folder=folder)
    path.unlink()
    with pytest.raises(InputError, match=r"toy.safetensors do not exist, though their card does"):
        card.check("toy", folder=folder)


def test_an_unknown_network_suggests_the_nearest(folder):
    with pytest.raises(InputError, match="Did you mean 'toy'"):
        card.read("toyy", folder=folder)


def test_a_damaged_card_is_refused(folder):
    path = card.files("toy", folder)["card"]
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in content.items() if k != "parameters"}))
    with pytest.raises(InputError, match=r"toy.json is incomplete: .*parameters"):
        card.read("toy", folder=folder)
    path.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        card.read("toy", folder=folder)
    path.write_text(json.dumps(content | {"colour": "red"}))
    with pytest.raises(InputError, match="toy.json holds something else"):
        card.read("toy", folder=folder)
    path.write_text(json.dumps(content | {"name": "other"}))
    with pytest.raises(InputError, match="toy.json is of 'other', not of 'toy'"):
        card.read("toy", folder=folder)


def test_a_log_without_losses_is_not_released(tmp_path):
    with pytest.raises(InputError, match="no rows with a column 'loss'"):
        card.write(a_card(), {"w": torch.zeros(6)}, LOG.drop(columns="loss"), folder=tmp_path)
    assert not list(tmp_path.glob("*"))


@pytest.mark.parametrize(
    ("changes", "state", "message"),
    [
        ({"name": "Bad Name"}, {}, "Invalid name 'Bad Name'"),
        ({"cost": {"cores": 1}}, {}, "lacks cpu_seconds, wall_seconds, device in 'cost'"),
        ({}, {"w": [float("nan")]}, "Tensor w of 'toy' holds NaN"),
        ({}, {"w": [1e6]}, "Tensor w of 'toy' holds NaN or infinity"),  # above float16
        ({}, {"w": [0.0] * 1_000_001}, r"take \d+ bytes. The package takes 2000000"),
    ],
)
def test_what_must_not_be_released_is_refused(tmp_path, monkeypatch, changes, state, message):
    monkeypatch.setattr(card, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=message):
        card.write(a_card(**changes), {k: torch.tensor(v) for k, v in state.items()}, LOG, folder=tmp_path)
    assert not list(tmp_path.glob("*"))


def test_every_released_network_is_the_one_its_card_describes():
    assert len(card.names()) > 20
    for name in card.names():
        state = card.read_state(name)
        held = sum(v.numel() for v in state.values() if v.is_floating_point())
        assert 0 <= held - card.read(name).parameters < 100  # buffers
        assert len(card.read_log(name))


@pytest.mark.parametrize("name", [n for n in card.names() if n.endswith("_1")])
def test_a_second_training_differs_from_the_first_by_its_seed_alone(name):
    again, first = card.read(name), card.read(name.removesuffix("_1"))
    differ = {k for k in first.settings if first.settings[k] != again.settings.get(k)}
    assert differ == {"seed"}
    assert again.data["cohort_sha256"] == first.data["cohort_sha256"]
    assert again.architecture == first.architecture
    assert again.sha256 != first.sha256
