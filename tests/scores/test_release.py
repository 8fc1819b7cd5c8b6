"""A release: its card is checked, its files are those that the card describes, and a difference is named."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from umdlib.errors import InputError
from umdlib.scores import release as releases
from umdlib.scores.simulated import score_table

SETTINGS = {"subjects": 2, "seed": 0, "spacing_mm": 4.0, "prompts": {"a/petct": "centre:1:0"}}
SUBJECTS = {"petct": ["sub-001", "sub-002"]}
CARD = releases.Release("full", SETTINGS, SUBJECTS, ["a"], {"processor": "p"}, {"a": 1.0}, "1")
PEOPLE = pd.DataFrame({"subject": ["sub-001"], "session": "petct", "modality": "CT"})


@pytest.fixture
def table():
    found = score_table(n_subjects=2, structures=["liver", "aorta"], gap={"a": -0.1})
    found.attrs["stamp"] = {"cohort": "c"}
    return found


@pytest.fixture
def folder(table, tmp_path):
    releases.write_release(CARD, table, PEOPLE, tmp_path / "released")
    return tmp_path / "released"


def test_what_is_written_is_read_again_and_listed(folder, table):
    card, scores, people = releases.read_release("full", folder)
    assert (card.rows, card.settings, card.subjects) == (8, SETTINGS, SUBJECTS) and len(card.sha256) == 64
    assert len(scores) == len(table) and people.to_dict("list") == PEOPLE.to_dict("list")
    assert releases.release_names(folder) == ["full"]
    with pytest.raises(InputError, match="Unknown released run 'fulll'.*Did you mean 'full'"):
        releases.read_card("fulll", folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "Full"}, "Invalid name 'Full' of a release. Small letters, digits and underscores only."),
        ({"settings": {"seed": 0}}, "card of 'full' lacks subjects, spacing_mm, prompts in 'settings'."),
        ({"segmenters": []}, "card of 'full' names no subject or no segmenter."),
        ({"subjects": {"petct": []}}, "card of 'full' names no subject or no segmenter."),
        ({"segmenters": ["a", "b"]}, "of release 'full' is not of the subjects and segmenters of its card."),
        ({"subjects": {"petct": ["sub-001"]}}, "is not of the subjects and segmenters of its card."),
    ],
)
def test_a_card_that_does_not_fit_its_table_is_refused(table, tmp_path, changes, sentence):
    with pytest.raises(InputError) as error:
        releases.write_release(replace(CARD, **changes), table, PEOPLE, tmp_path / "out")
    assert sentence in str(error.value) and not (tmp_path / "out").exists()


def test_a_file_that_is_not_the_cards_is_refused(folder):
    files = releases.release_files("full", folder)
    files["people"].write_text("subject\tsession\tmodality\nx\tpetct\tCT\n")
    with pytest.raises(
        InputError, match=r"full\.people\.tsv has sha256 [0-9a-f]{12}…, not [0-9a-f]{12}… of its card"
    ):
        releases.read_release("full", folder)
    files["table"].unlink()
    with pytest.raises(InputError, match=r"full\.parquet does not exist, though its card does"):
        releases.read_release("full", folder)


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "cannot be read"), ('{"name": "full"}', "cannot be read"), ("[]", "cannot be read")],
)
def test_a_damaged_card_is_a_sentence(folder, content, why):
    releases.release_files("full", folder)["card"].write_text(content)
    with pytest.raises(InputError, match=why):
        releases.read_card("full", folder)


def test_an_entry_that_nobody_knows_is_named(folder):
    path = releases.release_files("full", folder)["card"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    with pytest.raises(InputError, match="unknown entries colour"):
        releases.read_card("full", folder)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"seed": 1}, "seed is 1, the release has 0"),
        ({"spacing_mm": 2.0}, "spacing_mm is 2.0, the release has 4.0"),
        ({"prompts": {"b/petct": "x"}}, "b/petct is not in the release"),
        ({"prompts": {"a/petct": "box"}}, "the prompts of a/petct are box, the release has centre:1:0"),
    ],
)
def test_a_run_with_other_settings_cannot_use_a_release(changes, why):
    assert releases.misfit(CARD, SETTINGS | changes) == why


def test_the_first_difference_is_told_by_key_column_and_both_values(table):
    live = table[table["subject"].eq("sub-001")]
    same = releases.compare_with_release(live, table)
    assert (same.rows, same.equal, same.difference, same.exact) == (4, 4, "", True)
    first = live.sort_values(["modality", "structure"]).index[0]
    other = live.assign(dice=live["dice"].where(live.index != first, 0.125))
    found = releases.compare_with_release(other, table)
    assert found.equal == 3
    assert found.difference == (
        f"sub-001 petct CT aorta a centre step 0 seed 0: dice is {other.loc[first, 'dice']!r} here and "
        f"{table.loc[first, 'dice']!r} in the release (1 of 4 rows differ)."
    )


def test_rows_and_columns_of_one_table_only_are_named(table):
    found = releases.compare_with_release(table.iloc[1:], table)
    assert found.difference.endswith(" is released and not computed.") and found.equal == 0
    more = releases.compare_with_release(table, table.iloc[1:])
    assert more.difference.endswith(" is computed and not released.")
    assert (
        releases.compare_with_release(table.assign(x=1), table).difference == "Column x is in one table only."
    )
    assert releases.compare_with_release(table.assign(seconds=1.0), table).difference == ""
    with pytest.raises(InputError, match="No row was computed again"):
        releases.compare_with_release(table.iloc[:0], table)


def test_another_processor_may_differ_within_the_margin_or_in_few_first_prompts(table):
    near = table.assign(dice=table["dice"] - 0.0199, rvd=0.0)
    found = releases.compare_with_release(near, table, exact=False)
    assert found.difference == "" and found.equal == 0 and not found.exact
    far = table.assign(dice=table["dice"].where(table.index > 0, table["dice"] - 0.5))
    assert (
        "1 of 8 first prompts differ so" in releases.compare_with_release(far, table, exact=False).difference
    )
    later = far.assign(step=1)
    assert releases.compare_with_release(later, table.assign(step=1), exact=False).difference == ""
    empty = table.assign(status=table["status"].where(table.index > 0, "prediction_empty"))
    assert (
        "status is 'prediction_empty' here"
        in releases.compare_with_release(empty, table, exact=False).difference
    )


def test_the_subjects_computed_again_change_with_the_version():
    card = replace(CARD, subjects={"petct": [f"sub-{i:03d}" for i in range(100)], "petmr": ["sub-001"]})
    drawn = [releases.live_subjects(card, 3, version) for version in ("1", "1", "2")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]["petct"]) == 3 and drawn[0]["petct"] == sorted(set(drawn[0]["petct"]))
    assert drawn[0]["petmr"] == ["sub-001"]
