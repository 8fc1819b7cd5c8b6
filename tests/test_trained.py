"""What the chapter on the learned gap says, from tables whose answer is known."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from umdlib import design, figures, tables, trained
from umdlib.simulated import score_table

GAPS = {"clicknet_structural": -0.3, "clicknet_pet": 0.1, "clicknet_both": -0.1, "nnunet": -0.05}


def shifted(drop=0.2) -> pd.DataFrame:
    """Two domains of two subjects; every score of the second is `drop` lower."""
    parts = []
    for domain, change in (("same", 0.0), ("scanner", drop)):
        table = score_table(n_subjects=2, structures=["liver", "aorta"], gap=GAPS, seed=1)
        table["subject"] = table["subject"].str.replace("sub", domain)
        parts.append(table.assign(dice=np.clip(table["dice"] - change, 0, 1)))
    return pd.concat(parts, ignore_index=True)


def test_domains_are_compared_on_the_structures_that_all_hold():
    table = shifted(drop=0.1)
    gone = table["subject"].str.startswith("scanner") & table["structure"].eq("aorta")
    table.loc[gone, ["dice", "status"]] = [np.nan, "failed"]
    means = trained.domain_scores(table)
    assert set(means["diet"]) == {"structural", "pet", "both"}
    liver = table[table["structure"].eq("liver") & table["segmenter"].eq("clicknet_pet")]
    row = means[means["subject"].eq("same-001") & means["diet"].eq("pet")].iloc[0]
    wanted = liver[liver["subject"].eq("same-001") & liver["modality"].eq(row["modality"])]
    assert row["score"] == pytest.approx(wanted["dice"].iloc[0])


def test_the_sentence_on_domains_names_the_largest_loss():
    text = trained.domain_sentence(trained.domain_scores(shifted(drop=0.2)))
    assert "other scanner" in text
    assert "n = 2 subjects" in text
    assert trained.domain_sentence(trained.domain_scores(trained.read("none.parquet"))) == (
        trained.NO_DOMAINS
    )


def test_a_run_without_the_networks_says_so():
    table = score_table(n_subjects=3, gap={"threshold": -0.1})
    rows = design.design_scores(table)
    assert tables.answer(design.contrast_table(rows), design.learned_share(rows)) == tables.ABSENT
    assert design.design_table(rows).empty


def test_the_answer_carries_the_numbers_of_the_contrasts():
    table = score_table(n_subjects=6, gap=GAPS)
    rows = design.design_scores(table)
    contrasts, shares = design.contrast_table(rows, n_resamples=500), design.learned_share(rows)
    text = tables.answer(contrasts, shares)
    gap = contrasts.set_index("contrast").loc["gap", "estimate"]
    assert tables.number(gap, sign=True) in text
    assert f"{100 * shares['estimate'].iloc[0]:.0f} % of the gap is learned" in text


def test_specialists_come_first_and_clicks_are_counted_with_the_first():
    table = pd.concat([
        score_table(n_subjects=2, gap={"clicknet_both": -0.1}, steps=(0, 1, 2, 3)),
        score_table(n_subjects=2, gap={"nnunet": -0.1}),
    ], ignore_index=True)  # fmt: skip
    assert trained.compared(table, {"clicknet_both": "Net"}) == [
        ("nnunet", "nnunet", 0), ("Net, 1 click", "clicknet_both", 0),
        ("Net, 3 clicks", "clicknet_both", 2), ("Net, 4 clicks", "clicknet_both", 3),
    ]  # fmt: skip
    classes = design.class_means(table, trained.compared(table, {}))
    part = classes[classes["label"].eq("clicknet_both, 3 clicks") & classes["modality"].eq("PET")]
    own = table[table["segmenter"].eq("clicknet_both") & table["step"].eq(2)]
    liver = own[own["structure"].eq("liver") & own["modality"].eq("PET")]["dice"].mean()
    assert part.set_index("structure").loc["liver", "score"] == pytest.approx(liver)


def test_figures_hold_what_the_tables_hold():
    table = score_table(n_subjects=4, gap=GAPS, steps=(0, 1))
    rows = design.design_scores(table)
    cells = design.design_table(rows, n_resamples=99)
    ax = figures.design_plot(cells, seeds=design.by_training_seed(table))
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    pet = cells[cells["diet"].eq("pet")]["estimate"].tolist()
    assert lines["PET only"].tolist() == pet
    contrasts = design.contrast_table(rows, n_resamples=99)
    ax = figures.effect_plot(contrasts)
    assert [t.get_text() for t in ax.get_yticklabels()] == contrasts["contrast"].tolist()
    ax = figures.class_boxes(design.class_means(table, trained.compared(table, {})))
    assert ax.get_yticklabels()[0].get_text() == "nnunet, 1 click"
    ax = figures.domain_plot(trained.domain_scores(shifted()), trained.domain_titles())
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Same simulator", "Other scanner"]
    log = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]})
    ax = figures.diet_curves({"pet": log})
    assert ax.get_lines()[0].get_ydata().tolist() == [3.0, 2.0, 1.0]
    plt.close("all")


def test_layouts_hold_means_intervals_and_n():
    table = score_table(n_subjects=4, gap=GAPS)
    cells = design.design_table(design.design_scores(table), n_resamples=99)
    layout = tables.design_layout(cells)
    assert layout["Trained on"].tolist() == ["structure only", "PET only", "structure and PET"]
    assert layout["n"].tolist() == ["4", "4", "4"]
    first = cells.iloc[0]
    assert layout.iloc[0, 2].startswith(f"{first['estimate']:.3f} [{first['ci_low']:.3f}, ")
    out = tables.domain_layout(
        trained.domain_scores(shifted(drop=0.2)), trained.domain_titles(), trained.domain_words()
    )
    assert out["Domain"].tolist() == ["Same simulator", "Other scanner"]
    assert "(−0.2" in out.iloc[1]["PET only, on PET"]
