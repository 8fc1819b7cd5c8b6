"""The ladder of a cohort on disk: one key per cell, resumed, in shards, with states where there is no number."""

import json

import pandas as pd
import pytest

from umdlib import segmenters
from umdlib.__main__ import main
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import score_cohort
from umdlib.evaluation.store import case_folder
from umdlib.ladder import run
from umdlib.ladder.cells import CELLS, PET, UNDONE
from umdlib.ladder.run import LadderSettings, header_filter, ladder_run
from umdlib.segmenters.contract import Segmenter
from umdlib.statistics import attribution


def test_the_command_climbs_resumes_and_asks_again_only_what_was_lost(make_cohort, tmp_path, capsys):
    manifest, out = make_cohort(1), tmp_path / "out"
    command = ["ladder", str(manifest), "--segmenters", "threshold", "--out", str(out), "--reverse"]
    assert main(command) == 0
    assert f"{len(CELLS) + 1 + len(UNDONE)} cells asked, 0 kept" in capsys.readouterr().out
    cells, shares = (pd.read_csv(out / f"{n}.tsv", sep="\t") for n in ("cells", "shares"))
    assert set(cells["cell"]) == {*CELLS, PET, *UNDONE}
    assert (cells["score"].notna() == cells["reason"].isna()).all() and cells["score"].notna().any()
    assert shares["share"].notna().any()
    kept = {p.stem: json.loads(p.read_text())["key"] for p in (out / "ladder").rglob("sub-001*/*.json")}
    assert len(kept) == len(set(kept.values())) == 20
    (out / "ladder" / "threshold" / "sub-001_petct" / "R+N.json").write_text("{")
    assert main(command) == 0
    assert "1 cells asked, 19 kept" in capsys.readouterr().out
    again = pd.read_csv(out / "cells.tsv", sep="\t")
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), cells.drop(columns="seconds"))
    image = read_cohort(manifest).pairs()[0][1].image
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text('{"ReconFilterSize": 5.0}')
    assert main(command) == 0  # where no edge tells the point spread, all cells depend on this filter
    assert "20 cells asked, 0 kept" in capsys.readouterr().out


def test_scores_that_a_run_has_kept_are_the_plain_cells_and_others_are_asked(make_cohort, tmp_path):
    manifest, run_folder = make_cohort(1), tmp_path / "run"
    cohort = read_cohort(manifest)
    scores = score_cohort(cohort, "threshold", run_folder)
    first = scores[scores["step"].eq(0) & scores["prompt"].eq("centre")].set_index(["modality", "structure"])

    def seconds_and_scores(folder, run_folder=None):
        settings = LadderSettings(run=run_folder)
        cells, _ = ladder_run(cohort, ["threshold"], tmp_path / folder, settings=settings)
        return cells.set_index(["cell", "structure"])[["seconds", "score"]]

    alone, served = seconds_and_scores("alone"), seconds_and_scores("served", run_folder)
    assert served["score"].equals(alone["score"])
    asked = first[first["status"].eq("ok")]
    assert len(asked) > 1
    for (modality, structure), row in asked.iterrows():
        cell = (PET if modality == PET else "none", structure)
        assert served.loc[cell, "seconds"] == row["seconds"] != alone.loc[cell, "seconds"]
    kept = case_folder(run_folder, "threshold", cohort.pairs()[0][1])
    next(kept.glob("*.nii.gz")).write_bytes(b"damaged")
    again = seconds_and_scores("again", run_folder)
    assert again["score"].equals(alone["score"])
    assert not set(again.loc[PET, "seconds"].dropna()) & set(first["seconds"])


def test_shards_hold_all_pairs_once_and_a_bad_one_is_refused(make_cohort, tmp_path, capsys):
    manifest, out = make_cohort(2), tmp_path / "out"
    command = ["ladder", str(manifest), "--segmenters", "nnunet_small", "--out", str(out)]
    for k in (1, 2):
        assert main([*command, "--shard", f"{k}/2"]) == 0
    parts = [pd.read_csv(out / f"cells_{k}of2.tsv", sep="\t") for k in (1, 2)]
    assert [p["subject"].unique().tolist() for p in parts] == [["sub-001"], ["sub-002"]]
    assert parts[0]["reason"].eq(run._OWN_WEIGHTS).all() and parts[0]["score"].isna().all()
    assert main(["ladder-tables", str(out)]) == 0
    whole = (out / "cells.tsv").read_text()
    assert main(command) == 0
    assert (out / "cells.tsv").read_text() == whole and (out / "estimates.tsv").is_file()
    estimates = (out / "estimates_1of2.tsv").read_text()
    for text, said in (
        ("a\tb\n1\t2\n", "Column 'subject'"),
        (estimates.replace("\tn/a\t", "\tx\t"), "not a number"),
    ):
        (out / "estimates_1of2.tsv").write_text(text)
        capsys.readouterr()
        assert main(["ladder-tables", str(out)]) == 2
        assert said in capsys.readouterr().err
    (out / "estimates_1of2.tsv").write_text(estimates)
    (out / "cells_1of2.tsv").unlink()
    capsys.readouterr()
    assert main(["ladder-tables", str(out)]) == 2
    assert "Shard 1/2 is missing" in capsys.readouterr().err
    capsys.readouterr()
    assert main([*command, "--shard", "3/2"]) == 2
    assert "Shard '3/2'" in capsys.readouterr().err


BROKEN = """
from umdlib.segmenters.contract import Segmenter

def load(device):
    def segment(image, prompt, previous=None):
        if image.unit == "SUV":
            raise RuntimeError("no PET please")
        return image.data > 50
    return segment

RECORD = Segmenter("no_pet", "No PET", "fails on SUV", prompts=frozenset({"click"}), load=load)
"""


def test_a_cell_that_fails_is_a_reason_and_gives_no_share(make_cohort, tmp_path):
    model = tmp_path / "own.py"
    model.write_text(BROKEN)
    cells, estimates = ladder_run(read_cohort(make_cohort(1)), [f"{model}:RECORD"], tmp_path / "out")
    failed = cells[cells["cell"].eq(PET)]
    assert failed["reason"].eq("RuntimeError: no PET please").all() and failed["score"].isna().all()
    rows = attribution.share_rows(cells)
    assert rows["share"].isna().all() and rows["reason"].ne("").all()
    assert set(estimates["factor"]) == set("RNCA")


def test_a_segmenter_that_writes_into_its_image_changes_no_other_ones_cells(make_cohort, tmp_path):
    cohort = read_cohort(make_cohort(1))

    def blank(image, prompt, previous=None):
        mask = image.data > image.data.mean()
        image.data[:] = 0
        return mask

    segmenters.register(Segmenter("blank", "B", "B.", lambda device: blank, frozenset({"click"})))
    both, _ = ladder_run(cohort, ["blank", "threshold"], tmp_path / "both")
    alone, _ = ladder_run(cohort, ["threshold"], tmp_path / "alone")
    after = both[both["segmenter"].eq("threshold")].reset_index(drop=True)
    pd.testing.assert_frame_equal(after.drop(columns="seconds"), alone.drop(columns="seconds"))


def test_a_cohort_without_pairs_is_refused(make_cohort, tmp_path):
    cohort = read_cohort(make_cohort(1))
    with pytest.raises(InputError, match="two images"):
        ladder_run(cohort, ["threshold"], tmp_path, pairs=[])


def test_the_header_of_pet_says_its_filter_or_nothing(tmp_path):
    image = tmp_path / "sub-1_pet.nii.gz"
    assert header_filter(image) is None
    sidecar = tmp_path / "sub-1_pet.json"
    for text, width in (
        ('{"ReconFilterSize": 4}', 4.0),
        ('{"ReconFilterSize": [5.0, 1]}', 5.0),
        ("{}", None),
    ):
        sidecar.write_text(text)
        assert header_filter(image) == width
    sidecar.write_text('{"ReconFilterSize": "n/a"}')
    assert header_filter(image) is None
