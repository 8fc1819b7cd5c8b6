"""The page that says how each row of the papers is reproduced: complete, checked, computed by hand."""

from pathlib import Path

import pytest

from umdbook.chapters import reproduce
from umdlib import published
from umdlib.errors import InputError

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"


@pytest.fixture(scope="module")
def rows():
    return reproduce.rows()


def test_every_command_is_one_that_the_project_takes(rows):
    commands = {c for r in rows for c in r.commands}
    assert len(commands) > 50
    for command in commands:
        reproduce.check(command, NOTEBOOKS)


def test_every_system_of_the_printed_tables_has_a_row(rows):
    for table, cohort in (("umd_table1", "UMD 1"), ("umd_table2", "UMD 2")):
        asked = " ".join(c for r in rows if r.table == cohort for c in r.commands)
        for name in set(published.read(table)["segmenter"]):
            assert f"--segmenters {name} " in asked
    assert len([r for r in rows if r.table == "UMD 3"]) == 6
    assert len([r for r in rows if r.table == "SegAnyPET S3"]) == 6
    tables = {r.table.split()[-1] for r in rows if r.table.startswith("SegAnyPET")}
    assert tables == {"S1", "S2", "S3", "S4", "F2", "F3", "F4", "F5"}


def test_every_row_says_what_is_not_as_published_and_what_it_needs(rows):
    for row in rows:
        assert row.gap.endswith("."), row
        assert row.needs
        assert row.commands or row.hours is None


def test_hours_are_those_of_arithmetic_by_hand(rows):
    """490 pairs, 13 structures, 1.8 s an answer; VISTA3D: 4 x 4 x 7 and 5 x 5 x 7 windows of 0.2 s."""
    found = {(r.table, r.row): r.hours for r in rows}
    assert found["UMD 1", "SAM-Med3D-turbo, UMD PET/CT"] == pytest.approx(2 * 490 * 13 * 1.8 / 3600)
    vista = 490 * (112 + 175) * 0.2 / 3600
    (mine,) = (h for (t, r), h in found.items() if t == "UMD 1" and r.startswith("VISTA3D"))
    assert mine == pytest.approx(vista)
    lesions = next(h for (t, r), h in found.items() if t == "SegAnyPET S4" and "SegAnyPET v2, AutoPET" in r)
    assert lesions == pytest.approx(22177 * 1.8 / 3600)


@pytest.mark.parametrize(
    ("command", "match"),
    [
        (
            "umdlib score m.tsv --segmenters sam_med3d_turbo --prompts official_crop:1:0 --out R",
            "official_crop",
        ),
        ("umdlib score m.tsv --segmenters sam_med4d --prompts centre --out R", "Did you mean"),
        ("umdlib score m.tsv --segmenters vista3d --prompts centre:1:0 --out R", "takes class"),
        ("umdlib score m.tsv --segmenters sam_vit_h --prompts centre:1:0 --out R", "slice_click"),
        ("umdlib score m.tsv --segmenters threshold --session petspect --out R", "petspect"),
        ("umdlib score m.tsv --segmenters threshold", "cannot be parsed"),
        ("umdlib run reported -p score a.parquet", "score"),
        ("umdlib train specialist m --session petct --modality PET --out R --network unet", "unet"),
        ("umdlib train specialist m --session petct --modality PET --out R --recipe big", "big"),
        ("umdlib", "not a command"),
    ],
)
def test_a_command_with_a_name_that_does_not_exist_is_refused(command, match):
    with pytest.raises(InputError, match=match):
        reproduce.check(command, NOTEBOOKS)


def test_the_page_puts_the_readers_own_places_into_the_commands():
    rows = reproduce.rows(petct="mine/manifest.tsv", out="results/mine", device="cpu")
    text = reproduce.markdown(rows)
    assert "umdlib score mine/manifest.tsv --segmenters sam_med3d_turbo" in text
    assert "{" not in text.replace("::::{dropdown}", "")
    assert "--device cpu --out results/mine" in text


def test_every_note_stands_once_and_every_row_names_its_own(rows):
    notes = reproduce.numbered_notes(rows)
    assert list(notes.values()) == list(range(1, len(notes) + 1))
    text, listed = reproduce.markdown(rows), reproduce.notes_markdown(rows)
    for row in rows:
        numbers = [str(notes[sentence]) for sentence in reproduce._notes(row)]
        assert f"Notes {', '.join(numbers)}." in text
        assert " ".join(reproduce._notes(row)) == row.gap
    assert all(listed.count(f". {sentence}") == 1 for sentence in notes)
    assert not any(sentence in text for sentence in notes)


def test_what_all_rows_of_a_table_need_is_said_once(rows):
    own = [r for r in rows if r.table == "UMD 1"]
    text = reproduce.markdown(own)
    assert text.count("a GPU") == 1 < len(own)
    for row in own:
        assert f"`umdlib weights where {row.commands[0].split('--segmenters ')[1].split()[0]}`" in text


def test_the_effort_of_the_lesions_is_five_points_of_each(rows):
    """414 lesions of lymphoma and 8,314 of lung cancer, five answers of 1.8 s."""
    (effort,) = (r for r in rows if r.row == "(b): annotation effort")
    assert effort.hours == pytest.approx(5 * (414 + 8314) * 1.8 / 3600)
    assert sum("official_crop_192mm:1:4" in c for c in effort.commands) == 2


def test_the_two_estimates_of_a_run_of_umd_are_those_of_arithmetic_by_hand():
    """VISTA3D: 4 x 4 x 7 (CT), 4 x 3 x 7 (MR) and 5 x 5 x 7 (PET) windows; SegVol prepares 490 CT."""
    table = reproduce.sharing().set_index("System")
    windows = 490 * (112 + 175) + 464 * (84 + 175)
    alone, now = table.columns[:2]
    assert table.loc["VISTA3D", now] == pytest.approx(windows * 0.2 / 3600)
    assert table.loc["VISTA3D", alone] == pytest.approx(13 * windows * 0.2 / 3600)
    answers = 2 * (490 + 464) * 13 * 2.0
    assert table.loc["SegVol", now] == pytest.approx((answers + 490 * 19.3) / 3600)
    assert table.loc["SegVol", alone] == pytest.approx((answers + 13 * 490 * 19.3) / 3600)
    assert table.loc["SAT-Pro", alone] == table.loc["SAT-Pro", now]
    assert table.loc["all five", now] == pytest.approx(table[now].iloc[:5].sum())
    assert reproduce.sharing_markdown().count("\n") >= 7
