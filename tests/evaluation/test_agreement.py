"""Agreement without labels: exact bounds, states, the command with and without references."""

import itertools

import numpy as np
import pandas as pd
import pytest

from umdlib.__main__ import main
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import agree_run, score_cohort
from umdlib.evaluation.agreement import NOT_MADE, overlap
from umdlib.evaluation.store import read_prediction
from umdlib.files import read_tsv
from umdlib.images.geometry import resample
from umdlib.statistics import label_free


def test_the_triangle_inequality_of_the_jaccard_distance_bounds_the_gap():
    """All triples of the masks of four voxels: 15³ of them; and both bounds are reached."""
    masks = [np.array(m, bool) for m in itertools.product([0, 1], repeat=4) if any(m)]
    reached = 0
    for a, b, truth in itertools.product(masks, repeat=3):
        d, wrong = overlap(a, b)[1], [overlap(m, truth)[1] for m in (a, b)]
        assert abs(wrong[0] - wrong[1]) <= d + 1e-12 and sum(wrong) >= d - 1e-12
        reached += d > 0 and d - abs(wrong[0] - wrong[1]) < 1e-12
    assert reached > 100


def test_dice_and_jaccard_say_the_same():
    a, b = np.zeros(20, bool), np.zeros(20, bool)
    a[:12], b[5:17] = True, True
    dice, distance = overlap(a, b)
    assert dice == pytest.approx(14 / 24) and distance == pytest.approx(1 - 7 / 17)
    assert label_free.jaccard_distance(dice) == pytest.approx(distance)


def test_agreement_of_a_run_is_that_of_its_masks_on_pets_grid(make_cohort, tmp_path):
    cohort, root = read_cohort(make_cohort(1)), tmp_path / "run"
    score_cohort(cohort, ["threshold", "region_growing"], root)
    within, between = agree_run(cohort, root, ["threshold", "region_growing"])
    ct, pet = cohort.pairs()[0]
    images = [c.read_image() for c in (ct, pet)]
    masks = [read_prediction(root, "threshold", c)["ball"] for c in (ct, pet)]
    moved = resample(masks[0].astype(np.uint8), images[0].affine, images[1].affine, images[1].shape, order=0)
    row = within[within["segmenter"].eq("threshold") & within["structure"].eq("ball")].iloc[0]
    assert row["agreement"] == overlap(moved > 0, masks[1])[0]
    truth = pet.read()[1].data == 1
    assert row["pet"] == overlap(masks[1], truth)[1]
    assert row["structural_on_pet"] == overlap(moved > 0, truth)[1]
    assert label_free.bound_table(within)["broken"].eq(0).all()
    other = read_prediction(root, "region_growing", pet)["ball"]
    row = between[between["modality"].eq("PET") & between["structure"].eq("ball")].iloc[0]
    assert row["agreement"] == overlap(masks[1], other)[0]


def test_what_was_not_made_is_a_reason_and_nothing_at_all_is_refused(make_cohort, tmp_path):
    cohort, root = read_cohort(make_cohort(1)), tmp_path / "run"
    score_cohort(cohort, "threshold", root)
    within, _ = agree_run(cohort, root, ["threshold", "region_growing"])
    gone = within[within["segmenter"].eq("region_growing")]
    assert gone["reason"].eq(NOT_MADE).all() and gone["agreement"].isna().all()
    with pytest.raises(InputError, match="No prediction of region_growing"):
        agree_run(cohort, root, ["region_growing"])


POINTER = """
import numpy as np
from umdlib.segmenters.contract import Segmenter

def load(device):
    def segment(image, prompt, previous=None):
        return np.asarray(image.data) > {"ball": 30, "rod": 75}[prompt.structure]
    return segment

RECORD = Segmenter("by_class", "By class", "a threshold per class", prompts=frozenset({"class"}), load=load)
"""


def test_pairs_without_references_are_asked_by_a_pointers_clicks(make_cohort, tmp_path, capsys):
    manifest = make_cohort(1)
    labelled = manifest.read_text()
    table = read_tsv(manifest)
    table["reference"] = "n/a"
    table.to_csv(manifest, sep="\t", index=False)
    model, out = tmp_path / "own.py", tmp_path / "out"
    model.write_text(POINTER)
    assert main(["agree", str(manifest), "--segmenters", "threshold", "--out", str(out)]) == 2
    assert "--pointer" in capsys.readouterr().err
    command = ["agree", str(manifest), "--segmenters", "threshold", "--out", str(out)]
    assert main([*command, "--pointer", "threshold"]) == 2
    assert "takes a class" in capsys.readouterr().err
    assert main([*command, "--pointer", f"{model}:RECORD"]) == 0
    found = pd.read_csv(out / "agreement.tsv", sep="\t")
    assert found["agreement"].notna().any() and found["pet"].isna().all()
    assert "n/a" in manifest.read_text() and labelled != manifest.read_text()


def pairs(n=12, seed=0):
    """Six systems whose agreement tells the gap but for noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for k, subject, structure in itertools.product(range(6), range(n), ("liver", "aorta")):
        a = 0.9 - 0.1 * k + rng.normal(0, 0.02)
        rows.append((f"sub-{subject:03d}", "petct", structure, f"s{k}", a, a - 0.95 + rng.normal(0, 0.01), a))
    return pd.DataFrame(
        rows, columns=["subject", "session", "structure", "segmenter", "agreement", "gap", "pet_dice"]
    )


def test_agreement_that_tells_the_gap_ranks_and_predicts_and_one_that_does_not_does_not():
    table = label_free.validation_table(pairs(), n_resamples=200).set_index("what")
    assert table.loc["rank of systems by gap", ["value", "low"]].tolist() == [1.0, 1.0]
    line, mean = (
        table.loc[f"error of the gap predicted by {w}", "value"] for w in ("agreement", "the others' mean")
    )
    assert line == pytest.approx(0.01, rel=0.3) and mean > 0.15
    blind = pairs()
    blind["agreement"] = np.random.default_rng(1).random(len(blind))
    table = label_free.validation_table(blind, n_resamples=200).set_index("what")
    assert table.loc["rank of systems by gap", "low"] < 0.5
    line, mean = (
        table.loc[f"error of the gap predicted by {w}", "value"] for w in ("agreement", "the others' mean")
    )
    assert line == pytest.approx(mean, rel=0.1)


def test_one_subject_has_ranks_without_an_interval():
    table = label_free.validation_table(pairs(1))
    assert table["low"].isna().all()
    assert table.loc[table["what"].str.startswith("error"), "value"].isna().all()
