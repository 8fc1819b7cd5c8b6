"""Quantities of a run: one row per score row, kept by content, states in place of numbers."""

import shutil

import numpy as np
import pandas as pd
import pytest

from umdlib.__main__ import main
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import quantify_run, quantities, score_cohort
from umdlib.evaluation.store import case_folder, read_prediction
from umdlib.images.volume import LabelMap, write_label_map
from umdlib.quantities.table import read_quantities
from umdlib.scores.table import KEYS, write_scores


@pytest.fixture
def run(make_cohort, tmp_path):
    """A scored cohort: its cohort, its folder, its scores."""
    cohort, root = read_cohort(make_cohort(1)), tmp_path / "run"
    table = score_cohort(cohort, ["threshold", "vista3d"], root)
    write_scores(root / "scores.parquet", table, stamp=table.attrs["stamp"])
    return cohort, root, table


def test_every_score_has_its_quantities(run):
    cohort, root, scores = run
    table = quantify_run(cohort, root)
    pd.testing.assert_frame_equal(table[list(KEYS)], scores[list(KEYS)])
    ok = table["status"].eq("ok")
    both = table[ok].merge(scores, on=list(KEYS))
    np.testing.assert_allclose(both["prediction_ml_x"], both["prediction_ml_y"])
    case = cohort.case("sub-001", "petct", "PET")
    image, reference = case.read()
    row = table[ok & table["modality"].eq("PET") & table["structure"].eq("ball") & table["step"].eq(0)].iloc[
        0
    ]
    mask = read_prediction(root, "threshold", case)["ball"]
    assert row["prediction_suv_mean"] == pytest.approx(image.data[mask].mean(dtype=float))
    assert row["reference_suv_max"] == image.data[reference.data == 1].max()
    assert row["prediction_tlg"] == pytest.approx(row["prediction_suv_mean"] * row["prediction_ml"])


def test_a_segmenter_that_was_not_available_has_a_status_and_no_number(run):
    cohort, root, _ = run
    table = quantify_run(cohort, root)
    gone = table[table["segmenter"].eq("vista3d")]
    assert len(gone) and gone["status"].eq("unavailable").all() and gone["reason"].ne("").all()
    assert gone.filter(like="prediction_").isna().all(axis=None)


def test_quantities_are_kept_until_what_they_are_made_from_changes(run):
    cohort, root, _ = run
    case = cohort.case("sub-001", "petct", "PET")
    path = case_folder(root, "threshold", case) / "quantities.parquet"
    assert path.is_file()  # written with the scores
    before = path.stat().st_mtime_ns
    first = quantify_run(cohort, root)
    assert path.stat().st_mtime_ns == before
    labels = case.read_reference()
    smaller = np.where(labels.data == 1, 0, labels.data).astype(np.uint8)
    write_label_map(case.reference, LabelMap(smaller, labels.affine))
    again = quantify_run(cohort, root)
    assert path.stat().st_mtime_ns != before
    here = again["modality"].eq("PET") & again["structure"].eq("ball") & again["segmenter"].eq("threshold")
    assert again.loc[here, "reference_ml"].eq(0).all() and again.loc[here, "reference_suv_mean"].isna().all()
    assert first.loc[here, "reference_ml"].gt(0).all()


def test_an_image_that_is_gone_is_a_reason(run):
    cohort, root, _ = run
    case = cohort.case("sub-001", "petct", "PET")
    (case_folder(root, "threshold", case) / "quantities.parquet").unlink()
    case.image.write_bytes(b"no image")
    table = quantify_run(cohort, root)
    rows = table[table["modality"].eq("PET") & table["segmenter"].eq("threshold")]
    assert (
        rows.filter(like="_suv_").isna().all(axis=None) and rows["reason"].str.contains(case.image.name).all()
    )
    assert table.loc[table["modality"].eq("CT"), "prediction_hu_mean"].notna().any()


def test_the_command_writes_the_sister_of_the_score_table(make_cohort, tmp_path, capsys):
    manifest, out = make_cohort(1), tmp_path / "run"
    assert main(["score", str(manifest), "--segmenters", "threshold", "--out", str(out)]) == 0
    first = read_quantities(out / "quantities.parquet")
    (out / "quantities.parquet").unlink()
    assert main(["quantities", str(manifest), "--out", str(out)]) == 0
    pd.testing.assert_frame_equal(read_quantities(out / "quantities.parquet"), first)
    assert "Quantities:" in capsys.readouterr().out


def test_a_case_that_another_process_puts_in_its_place_meanwhile_is_measured_again(run, monkeypatch):
    cohort, root, _ = run
    folder = case_folder(root, "threshold", cohort.case("sub-001", "petct", "PET"))
    first = quantify_run(cohort, root)
    (folder / "quantities.parquet").unlink()
    write, away = quantities.sister.write_quantities, folder.with_name("away")

    def exchanged(path, *args, **kwargs):
        if away.exists():
            return write(path, *args, **kwargs)
        folder.replace(away)
        shutil.copytree(away, folder)
        raise InputError(f"Cannot write {path}: No such file or directory.")

    monkeypatch.setattr(quantities.sister, "write_quantities", exchanged)
    pd.testing.assert_frame_equal(quantify_run(cohort, root), first)
    assert away.exists()
