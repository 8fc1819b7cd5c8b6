import numpy as np
import pytest

from umdlib import published
from umdlib.__main__ import main
from umdlib.errors import InputError
from umdlib.published import Reading

FOLDS = """Folds of a challenge, mean and SD over cases.

| Fold | Dice | HD95 (mm) | Time (s) |
|---|---|---|---|
| 1 | 0.8833 ± 0.7597 | 12.31 ± 9.12 | 3.21 ± 0.41 |
| 2 | 0.8488±0.08242 | 8.33 ± 7.17 | 3.24 ± 0.44 |
| 3 | 0.8712 ± 0.0911 | nan | 3.11 ± 0.52 |
| Average | 0.8600 ± 0.1000 | 11.02 ± 8.01 | 3.19 ± 0.46 |
"""
LATEX = r"""
\begin{table} \caption{Mean DSC (\%) per organ} % a comment
\begin{tabular}{l@{\hskip 2pt}ccc}
\toprule
Method & \multicolumn{2}{c}{CT} & Avg \\
 & Liver & Spleen & \\
\midrule
nnU-Net & $\mathbf{95.1} \pm 2.0$ & 93.2 $\pm$ 4.4 & 94.15 $\pm$ 2.5 \\
SAM (3p) & 70.1 $\pm$ 55.0 & 60.2 $\pm$ 20.0 & 80.15 $\pm$ 20.5 \\
\bottomrule
\end{tabular} \end{table}
"""


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def audited(path, **reading):
    table = published.read_table(path, Reading(**reading))
    return table, published.audit_table(table)


def test_a_readme_table_of_folds_is_read_and_its_impossible_cell_named(tmp_path):
    table, found = audited(write(tmp_path, "folds.md", FOLDS), n=16)
    units = dict(zip(table["column"], zip(table["metric"], table["unit"], strict=True), strict=True))
    assert units == {"Dice": ("dice", "fraction"), "HD95 (mm)": ("hd95", "mm"), "Time (s)": ("seconds", "s")}
    bad = found[found["grade"] == "impossible"]
    # √(0.8833 × 0.1167 × 16/15) = 0.3316
    assert bad[["where", "printed"]].to_numpy().tolist() == [["Fold 1, Dice", "0.8833 ± 0.7597"]]
    # Averages that are not those of the rows are of another kind than a contradiction.
    assert not (found["grade"] == "inconsistent").any()
    assert "average over others" in set(found[found["grade"] == "note"]["check"])


def test_a_latex_table_in_per_cent_with_spans_and_an_average_column(tmp_path):
    table, found = audited(write(tmp_path, "t.tex", LATEX), n=16)
    assert list(dict.fromkeys(table["column"])) == ["CT Liver", "CT Spleen", "Avg"]
    assert set(table["unit"]) == {"per cent"}
    assert set(table.query("structure == 'average'")["model"]) == {"nnU-Net", "SAM (3p)"}
    assert set(table.query("segmenter == 'SAM'")["prompt"]) == {"3 points"}
    bad = found[found["grade"].isin(["impossible", "inconsistent"])]
    assert bad[["where", "check"]].to_numpy().tolist() == [
        ["SAM (3p), CT Liver", "sd bound"],  # √(70.1 × 29.9 × 16/15) = 47.3
        ["SAM (3p), Avg", "average mean"],  # (70.1 + 60.2)/2 = 65.15
    ]


def test_a_clean_table_in_per_cent_raises_no_alarm(tmp_path):
    rng = np.random.default_rng(3)
    scores = 100 * rng.beta(8, 2, (40, 6, 3))
    lines = ["Organ,A,B,C"]
    for i in range(6):
        lines.append(f"o{i}," + ",".join(f"{s.mean():.2f} ± {s.std(ddof=1):.2f}" for s in scores[:, i].T))
    means = scores.mean(axis=1)
    lines.append("Mean," + ",".join(f"{s.mean():.2f} ± {s.std(ddof=1):.2f}" for s in means.T))
    _, found = audited(write(tmp_path, "t.csv", "\n".join(lines)), n=40)
    assert len(found[found["check"] == "sd bound"]) == 21
    assert (found["grade"] == "passed").all()


def test_medians_sections_and_decimal_commas(tmp_path):
    text = "Organ;A: median (IQR);B: median (IQR)\nCT;;\nLiver;0,91 (0,88-0,94);0,80 (0,05)\nPET;;\n"
    text += "Liver;0,80 (0,85-0,90);n/a\n"
    table, found = audited(write(tmp_path, "t.csv", "\ufeff" + text), n={"PET": 30, "": 20})
    assert table.groupby("section", sort=False)["n"].first().to_dict() == {"CT": 20, "PET": 30}
    assert set(table["statistic"]) == {"median", "q1", "q3", "iqr", "none"}
    assert found[found["grade"] == "impossible"]["check"].tolist() == ["quartile order"]


def test_a_column_called_n_gives_the_subjects(tmp_path):
    text = "Site,n,Dice\nA,10,0.80 (0.10)\nB,30,0.90 (0.10)\nAll,40,0.875 (0.11)\n"
    table, found = audited(write(tmp_path, "t.csv", text))
    assert table.groupby("row")["n"].first().to_dict() == {"A": 10, "All": 40, "B": 30}
    own = found[found["check"] == "average mean"]  # (10 × 0.80 + 30 × 0.90)/40 = 0.875
    assert own["grade"].tolist() == ["passed"]


def test_two_lines_of_one_label_are_not_rows_of_one_average(tmp_path):
    text = "Organ,A\nLiver,0.80 (0.10)\n,0.20 (0.10)\nSpleen,0.60 (0.10)\n,0.40 (0.10)\n"
    text += "Avg,0.70 (0.08)\n,0.30 (0.08)\n"
    _, found = audited(write(tmp_path, "t.csv", text), n=20)
    assert found[found["check"] == "average mean"]["grade"].tolist() == ["passed", "passed"]


def test_an_interval_that_leaves_its_mean_out_is_found(tmp_path):
    text = "Organ,A,B\nLiver,0.80 [0.70 0.90],0.80 [0.82, 0.90]\n".replace("0.70 0.90", "0.70; 0.90")
    text = text.replace(",0.80 [0.82, 0.90]", ',"0.80 [0.82, 0.90]"')
    _, found = audited(write(tmp_path, "t.csv", text), n=20)
    bad = found[found["grade"] == "inconsistent"]
    assert bad[["check", "where"]].to_numpy().tolist() == [["interval order", "Liver, B"]]


def test_rows_of_sds_are_not_scores(tmp_path):
    text = "Case,Dice\na,0.80\nb,0.90\nMean,0.85\nStd,0.05\n"
    table, found = audited(write(tmp_path, "t.csv", text), n=2)
    assert set(table["row"]) == {"a", "b", "Mean"}
    assert (found["grade"] == "passed").all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("only words\nand more\n", "holds no table"),
        ("a,b\nx,good\n", "No column of t.csv holds numbers"),
        ("a,b\nx,0.5\ny,0.6\nz,hello\n", r"Invalid cell 'hello' in t.csv, row 'z', column 'b'"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        published.read_table(write(tmp_path, "t.csv", text))


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"metric": "disce"}, "Unknown metric 'disce'"),
        ({"unit": "mm"}, "Invalid unit 'mm' of dice"),
        ({"which": 2}, "holds 1 tables; there is no table 2"),
        ({"n": 1}, "Invalid n 1"),
    ],
)
def test_what_a_table_cannot_be_is_refused(tmp_path, reading, message):
    with pytest.raises(InputError, match=message):
        audited(write(tmp_path, "t.csv", "a,b\nx,0.5\n"), **reading)


@pytest.mark.parametrize("text", ["x", "A=1", "A=0.5", "="])
def test_an_n_that_is_no_number_is_refused(text):
    with pytest.raises(InputError, match="whole number of 2 or more"):
        published.parse_n([text])


def test_the_command_reports_and_says_by_its_status(tmp_path, capsys):
    path = write(tmp_path, "folds.md", FOLDS)
    tests = tmp_path / "tests.csv"
    assert main(["audit", str(path), "--metric", "dice", "--n", "16", "--tests", str(tests)]) == 1
    out = capsys.readouterr().out
    assert "0.8833 ± 0.7597" in out
    assert "What else it could be" in out
    assert tests.read_text().startswith("check,grade,table,where,printed,arithmetic")
    sound = write(tmp_path, "sound.csv", "Organ,A\nLiver,0.80 (0.10)\n")
    assert main(["audit", str(sound), "--n", "20"]) == 0
    assert main(["audit", str(tmp_path / "absent.csv")]) == 2
    assert "Cannot read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        (r"85.3$_{\pm 2.1}$", {"mean": "85.3", "sd": "2.1"}),
        (r"\textcolor{red}{85.3}\scriptsize{±2.1}", {"mean": "85.3", "sd": "2.1"}),
        ("0.85 (±0.10)", {"mean": "0.85", "sd": "0.10"}),
        ("0,85 ± 0,10", {"mean": "0.85", "sd": "0.10"}),
        ("0.85 ± 0.10 [0.80, 0.90]", {"mean": "0.85", "sd": "0.10", "lower": "0.80", "upper": "0.90"}),
        ("0.85 (+0.02)", {"value": "0.85"}),
        ("85.3 ↑2.3", {"value": "85.3"}),
        ("0.853 (1)", {"value": "0.853"}),
        ("33 (84.6%)", {"value": "84.6"}),
        ("91.4% (170/186)", {"value": "91.4"}),
        ("0.90-0.92", {}),
        ("1 480 ± 190", {"mean": "1480", "sd": "190"}),
        ("1\u202f234\u202f567", {"value": "1234567"}),
        ("12’480", {"value": "12480"}),
        ("0.91a", {"value": "0.91"}),
        ("0.91a,b ± 0.05", {"mean": "0.91", "sd": "0.05"}),
        (r"\num{0.91 \pm 0.05}", {"mean": "0.91", "sd": "0.05"}),
        ("--", {}),
    ],
)
def test_cells_as_papers_and_readmes_print_them(cell, numbers):
    assert dict(published.parse_cell(cell).numbers) == numbers


BY_METRIC = """| Metric | Ours | Improvement |
|---|---|---|
| Dice | 0.87 ± 0.04 | +17.6% |
| HD95 | 10.3 ± 2.3 | -29.0% |
| n | 20 | |
"""
ASIDE = """Method,dice_mean,dice_std,hd95_liver,Year,Params (M),FP vol (ml),Speedup fp16,Examinations
V-Net,0.856,0.02,5.2,2016,45.1,2.5,1.2,16
Diff-UNet,0.874,0.60,6.1,2024,30.2,3.1,2.4,16
"""
HTML = """<table><caption>Lungs</caption>
<tr><td rowspan="2"><center>Set<td colspan="2">Left</td></tr><tr><td>DSC</td><td>NSD</td></tr>
<tr><td>A</td><td><center>0.96±0.01</td><td>0.75±0.09</td></tr>
<tr><td>B<br></td><td>0.95±0.05</td><td>0.80±0.60</td></tr></table>
"""


def test_rows_may_name_the_metric_and_gains_are_no_scores(tmp_path):
    table, found = audited(write(tmp_path, "m.md", BY_METRIC))
    assert dict(zip(table["row"], table["metric"], strict=True)) == {"Dice": "dice", "HD95": "hd95"}
    assert not found["grade"].isin(["impossible", "inconsistent"]).any()
    assert "No scores, left out: Improvement, n." in table.attrs["reading"]


def test_a_loss_called_dice_is_not_a_metric(tmp_path):
    text = "| Loss | WT | TC |\n|---|---|---|\n| Dice | 0.88 | 0.81 |\n| HD | 0.80 | 0.77 |\n"
    table, _ = audited(write(tmp_path, "loss.md", text))
    assert set(table["metric"]) == {"dice"}


def test_sds_in_their_own_columns_and_what_is_no_score(tmp_path):
    table, found = audited(write(tmp_path, "a.csv", ASIDE))
    assert list(dict.fromkeys(table["column"])) == ["dice", "hd95_liver", "FP vol (ml)"]
    assert list(dict.fromkeys(table["metric"])) == ["dice", "hd95", "volume"]
    # √(0.874 × 0.126 × 16/15) = 0.343
    assert found[found["grade"] == "impossible"]["where"].tolist() == ["Diff-UNet, dice"]


def test_an_html_table_of_a_readme(tmp_path):
    table, found = audited(write(tmp_path, "README.md", "# Title\n" + HTML), n=16)
    assert list(dict.fromkeys(table["column"])) == ["Left DSC", "Left NSD"]
    assert found[found["grade"] == "impossible"]["where"].tolist() == ["B, Left NSD"]


def test_the_level_of_an_interval_is_no_unit(tmp_path):
    text = "| Organ | A (95% CI) | B, 95 % confidence interval | DSC (%), 95% CI |\n|---|---|---|---|\n"
    row = "| Liver | 1.31 (0.88–1.94) | 0.93 (0.90–0.95) | 91.0 (88.0–94.0) |\n"
    table, found = audited(write(tmp_path, "ci.md", text + row))
    assert list(table.drop_duplicates("column")["unit"]) == ["fraction", "fraction", "per cent"]
    assert found[found["grade"] == "impossible"]["where"].tolist() == ["Liver, A (95% CI)"]


def test_a_column_of_numbers_that_is_not_read_is_named(tmp_path):
    rows = "| Liver | 3T | >0.99 | 0.93 |\n| Colon | 1.5T | <0.01 | 0.90 |\n"
    text = "| Organ | Scanner | A | B |\n|---|---|---|---|\n" + rows
    table, _ = audited(write(tmp_path, "bounds.md", text))
    assert "Not read: column A, such as '>0.99'." in table.attrs["reading"]
    assert not any("Scanner" in sentence for sentence in table.attrs["reading"])


def test_cells_of_fewer_decimals_are_no_copies_of_cells_near_them(tmp_path):
    text = "Organ,A,B\nLiver,0.91 ± 0.03,0.93 ± 0.02\nSpleen,0.88 ± 0.1,0.84 ± 0.1\nAorta,0.71 ± 0.13,0.71 ± 0.13\n"
    _, found = audited(write(tmp_path, "mixed.csv", text), n=20)
    copied = found[found["check"].eq("copied cell") & found["grade"].ne("passed")]
    assert copied["where"].tolist() == ["Aorta, A"]


def test_a_mean_beside_its_own_extremes_is_no_average_of_them(tmp_path):
    head = "| Organ | Mean | SD | Min | Max |\n|:-:|:-:|-|-|-|\n"
    text = head + "| Liver\\textsuperscript{a} | 0.91 | 0.05 | 0.80 | 0.95 |\n"
    table, found = audited(write(tmp_path, "extremes.md", text), n=20)
    assert set(table["structure"]) == {"Liver"}
    assert not found["check"].str.startswith("average").any()
