"""Ceilings of a cohort, from its references alone."""

from __future__ import annotations

import numpy as np
import pytest

from umdbook.chapters import by_structure
from umdlib import compare, figures, statistics, tables
from umdlib.__main__ import main
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import ceilings
from umdlib.files import read_tsv
from umdlib.scores.ceilings import BOUNDS, COLUMNS, FILE, KINDS
from umdlib.scores.simulated import score_table


def test_every_kind_has_a_row_and_what_is_not_measured_says_so(make_cohort):
    cohort = read_cohort(make_cohort(1))
    table = ceilings.cohort_ceilings(cohort, jitter_mm=(2.0,))
    assert list(table.columns) == list(COLUMNS)
    assert set(table["kind"]) == set(KINDS)
    assert set(BOUNDS) < set(KINDS)
    ball = table.query("structure == 'ball'").set_index(["modality", "kind"])["ceiling"]
    assert np.isnan(ball["PET", "motion"])
    assert set(table.loc[table["ceiling"].isna(), "reason"]) == {ceilings.UNMEASURED}
    assert ball["PET", "grid"] <= ball["PET", "grid, best"] < 1
    # a ball of radius 18 mm moved by 10
    assert ball["PET", "shift"] == pytest.approx(1 - 1.5 * 10 / 36 + 0.5 * (10 / 36) ** 3, abs=0.03)
    assert 0.8 < ball["CT", "second reader"] < 1
    again = ceilings.cohort_ceilings(cohort, jitter_mm=(2.0,))
    np.testing.assert_array_equal(again["ceiling"], table["ceiling"])


def test_the_command_takes_measured_displacements(make_cohort, tmp_path, capsys):
    manifest = make_cohort(1)
    head = "subject\tsession\tstructure\tx_mm\ty_mm\tz_mm\n"
    (tmp_path / "moved.tsv").write_text(
        head + "sub-001\tpetct\tball\t0\t0\t10\nsub-001\tpetct\trod\tn/a\tn/a\tn/a\n"
    )
    out = str(tmp_path / "run")
    assert (
        main(["ceilings", str(manifest), "--out", out, "--displacements", str(tmp_path / "moved.tsv")]) == 0
    )
    assert "Ceilings:" in capsys.readouterr().out
    table = read_tsv(tmp_path / "run" / FILE).query("structure == 'ball'").set_index("kind")
    assert table.loc["motion", "ceiling"] == table.loc["shift", "ceiling"] != "n/a"
    (tmp_path / "moved.tsv").write_text(head + "sub-001\tpetct\tball\tfar\t0\t10\n")
    with pytest.raises(InputError, match="Line 2 of .* are not three numbers of mm"):
        ceilings.read_displacements(tmp_path / "moved.tsv")


def test_displacements_come_from_the_estimates_of_a_ladder_too(tmp_path):
    head = "subject\tsession\tfactor\tstructure\tquantity\tvalue\n"
    rows = [
        f"sub-001\tpetct\tA\tball\tdisplacement {a}\t{v}\n" for a, v in zip("xyz", (1, -2, 8.5), strict=True)
    ]
    rows += ["sub-001\tpetct\tA\trod\tdisplacement\tn/a\n", "sub-001\tpetct\tR\tball\tfwhm\t7\n"]
    (tmp_path / "estimates.tsv").write_text(head + "".join(rows))
    found = ceilings.read_displacements(tmp_path / "estimates.tsv")
    assert found == {("sub-001", "petct", "ball"): (1.0, -2.0, 8.5)}
    (tmp_path / "estimates.tsv").write_text(head + "".join(rows[:3] * 2))
    with pytest.raises(InputError, match="sub-001 petct ball occurs twice"):
        ceilings.read_displacements(tmp_path / "estimates.tsv")
    (tmp_path / "other.tsv").write_text("subject\tsession\tstructure\nsub-001\tpetct\tball\n")
    with pytest.raises(InputError, match="Column 'x_mm' is missing"):
        ceilings.read_displacements(tmp_path / "other.tsv")


def test_a_pair_without_references_or_with_a_damaged_one_stops_nothing(make_cohort):
    manifest = make_cohort(2)
    (manifest.parent / "sub-001_PET_dseg.nii.gz").write_bytes(b"no image")
    table = ceilings.cohort_ceilings(read_cohort(manifest), jitter_mm=(2.0,))
    gone = table[table["subject"].eq("sub-001")]
    assert gone["ceiling"].isna().all()
    assert gone["reason"].str.contains("sub-001_PET_dseg").all()
    assert table.loc[table["subject"].eq("sub-002"), "ceiling"].notna().any()
    lines = manifest.read_text().replace("_dseg.nii.gz", "_none").splitlines()
    at = lines[0].split("\t").index("reference")
    bare = ["\t".join("n/a" if n == at else f for n, f in enumerate(li.split("\t"))) for li in lines[1:]]
    manifest.write_text("\n".join([lines[0], *bare]) + "\n")
    assert ceilings.cohort_ceilings(read_cohort(manifest)).empty


def test_tables_and_figures_show_what_was_written(make_cohort, tmp_path):
    out = tmp_path / "run"
    main(["ceilings", str(make_cohort(2)), "--out", str(out)])
    path = str(out / FILE)
    means = statistics.structure_ceilings(statistics.read_ceilings(path))
    assert means["n_subjects"].eq(2).all()
    assert set(means.loc[means["bound"], "kind"]) == set(BOUNDS)
    shown = tables.beside_scores(path, "petct")
    assert set(shown["title"]) == {"second reader (2 mm)", "moved (10 mm)"}
    written = by_structure.ceilings_text(path)
    assert "tab-ceilings-petct" in written
    assert "(a bound: no mask of that kind exceeds it)" in written
    scores = score_table(n_subjects=3, structures=["ball", "rod"], gap={"a": 0.0})
    cells = tables.modality_table(compare(scores, n_resamples=99), "petct")
    line = next(
        li for li in tables.to_markdown(cells, beside=tables.columns(shown)).splitlines() if "Ball" in li
    )
    ball = shown.query("structure == 'ball' and modality == 'CT'")["ceiling"].item()
    assert line.split("|")[-3].strip() == f"{ball:.3f}"
    pairs = statistics.paired_differences(scores)
    ax = figures.distributions(pairs, ceilings=shown)
    drawn = [s[0, 0] for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()]
    assert ball in drawn
    text = out.joinpath(FILE).read_text()
    out.joinpath(FILE).write_text(text.replace("two references", "three references"))
    with pytest.raises(InputError, match="Unknown kind of ceiling"):
        statistics.read_ceilings(path)
