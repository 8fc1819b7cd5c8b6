"""The chapter on subgroups: both groups with their numbers, and what a test can and cannot say."""

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import subgroups as chapter
from umdlib.errors import InputError
from umdlib.statistics.flow import STEPS
from umdlib.statistics.subgroups import COLUMNS


def groups(*rows):
    """Rows of factor, p, p after Holm."""
    table = pd.DataFrame(
        [
            ["petct", "a", factor, -0.1, -0.2, 0.0, 5, 0.05, np.nan, np.nan, 1, 0.15, p, holm, 3, False, ""]
            for factor, p, holm in rows
        ],
        columns=COLUMNS,
    )
    return table


def test_each_group_has_its_name_its_mean_and_its_number():
    shown = chapter.layout(groups(("sex", 0.02, 0.06), ("age", np.nan, np.nan)))
    assert shown["one group"].tolist() == [
        "female: −0.100 [−0.200, +0.000] (n = 5)",
        "under 60 years: −0.100 [−0.200, +0.000] (n = 5)",
    ]
    assert shown["the other"].tolist() == ["male: +0.050 (n = 1)", "60 years or more: +0.050 (n = 1)"]
    assert shown["difference"].tolist() == ["+0.150", "+0.150"]
    assert shown["p (interaction)"].tolist() == ["0.020", "–"] and shown["p (Holm)"].tolist() == [
        "0.060",
        "–",
    ]
    assert shown["session"].unique().tolist() == ["PET/CT"]


def test_an_interaction_is_shown_only_after_the_correction():
    every = groups(
        ("sex", 0.02, 0.06), ("age", 0.01, 0.03), ("body mass", 0.5, 0.5), ("lesion load", np.nan, np.nan)
    )
    words = chapter.words(every)
    assert words.startswith(
        "3 interactions tested, 1 shown (p < 0.05 after Holm over the 3 factors of a segmenter)"
    )
    assert "without a correction 2 would be called one" in words
    assert "Not in the manifest" not in words
    one = chapter.words(groups(("sex", 0.2, 0.2)))
    assert one.startswith("1 interaction tested, 0 shown")
    assert one.endswith("Not in the manifest of this cohort: age, body mass, lesion load.")
    none = chapter.words(groups(("sex", np.nan, np.nan)))
    assert none.startswith("No group is large enough for a test. Not in the manifest")


def test_the_flow_has_a_column_for_every_step_and_the_commonest_reason():
    counts = dict(zip(STEPS, (8, 7, 6, 5), strict=True))
    flow = pd.DataFrame(
        [{"session": "petmr", "segmenter": "a", **counts, "n_pairs": 60, "n_unpaired": 5, "why": ""}]
    )
    shown = chapter.flow_layout(flow).iloc[0]
    assert [shown[title] for title in STEPS.values()] == [8, 7, 6, 5]
    assert (shown["session"], shown["without a pair"], shown["most common reason"]) == ("PET/MR", 5, "–")


def test_people_are_those_of_the_file_or_of_the_manifest(make_cohort, tmp_path):
    manifest = make_cohort(2)
    assert chapter.read_people(str(manifest))["subject"].nunique() == 2
    (tmp_path / "people.tsv").write_text("subject\tsession\nx\tpetct\n")
    assert chapter.read_people(str(manifest), str(tmp_path / "people.tsv"))["subject"].tolist() == ["x"]
    with pytest.raises(InputError, match=r"none\.tsv"):
        chapter.read_people(str(tmp_path / "none.tsv"))
