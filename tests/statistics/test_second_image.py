"""What a second image adds: paired by subject and structure, of the image that was asked about."""

import numpy as np
import pandas as pd
import pytest

from umdlib.scores.simulated import score_table
from umdlib.statistics.second_image import ALL, OF_ITS_KIND, second_image_table

OF = {m: OF_ITS_KIND[m] for m in ("CT", "PET")}


def scores(n_subjects=6, gain=0.1):
    """Both images give `gain` more than one on CT, and nothing on PET; the liver twice as much."""
    table = score_table(n_subjects=n_subjects, structures=["liver", "spleen"], gap={"clicknet_pet": -0.2})
    both = table.assign(segmenter="clicknet_pair")
    added = np.where(both["structure"].eq("liver"), 2 * gain, gain) * both["modality"].eq("CT")
    both["dice"] = both["dice"] / 2 + added  # within 0 to 1
    alone = table.assign(dice=table["dice"] / 2, segmenter=table["modality"].map(OF))
    # what a training on the other kind of image makes of it counts for nothing
    swapped = {OF["CT"]: OF["PET"], OF["PET"]: OF["CT"]}
    other = alone.assign(dice=0.9, segmenter=alone["segmenter"].map(swapped))
    return pd.concat([alone, other], ignore_index=True), both


def test_the_difference_is_paired_and_says_what_was_added_to_what():
    alone, both = scores()
    table = second_image_table(
        pd.concat([both, alone], ignore_index=True).sample(frac=1, random_state=1),
        alone=OF_ITS_KIND,
        n_resamples=199,
    )
    found = table.set_index(["modality", "structure"])["estimate"]
    assert found["CT", "liver"] == pytest.approx(0.2) and found["CT", "spleen"] == pytest.approx(0.1)
    assert found["CT", ALL] == pytest.approx(0.15) and found["PET", ALL] == pytest.approx(0)
    assert dict(zip(table["modality"], table["added"], strict=True)) == {"CT": "PET", "PET": "CT"}
    row = table[table["modality"].eq("CT") & table["structure"].eq(ALL)].iloc[0]
    assert row["both"] - row["alone"] == pytest.approx(row["estimate"]) and row["n_subjects"] == 6
    assert row["ci_low"] == pytest.approx(0.15) == row["ci_high"]  # the same in every subject


def test_a_subject_without_one_of_the_two_is_left_out_and_a_lone_network_gives_no_rows():
    alone, both = scores()
    fewer = both[both["subject"].ne(both["subject"].iloc[0])]
    alone["segmenter"] = "clicknet_pair_alone"
    alone = alone.drop_duplicates(["subject", "modality", "structure"])
    table = second_image_table(pd.concat([fewer, alone], ignore_index=True), n_resamples=99)
    assert set(table["n_subjects"]) == {5}
    assert second_image_table(both).empty and second_image_table(alone).empty
