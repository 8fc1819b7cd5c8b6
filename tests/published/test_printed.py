import hashlib
import importlib.util
import re
import sys
from collections import Counter

import pandas as pd
import pytest
from published_help import ROOT, paper, records

from umdlib import published
from umdlib.errors import InputError
from umdlib.labels import MODALITIES, ORGANS, SESSIONS
from umdlib.published import printed as tables
from umdlib.published.names import MODELS, STRUCTURES

# Lines of each printed table, counted in the papers; cells with a number; numbers.
SIZE = {
    "umd_table1": (28, 140, 280),
    "umd_table2": (28, 140, 280),
    "umd_table3": (6, 33, 33),
    "seganypet_table1": (13, 26, 26),
    "seganypet_s1": (7, 35, 105),
    "seganypet_s2": (7, 35, 105),
    "seganypet_s3": (6, 42, 114),
    "seganypet_s4": (42, 219, 657),
}


@pytest.fixture(scope="module")
def script():
    path = ROOT / "tools" / "transcribe_published.py"
    spec = importlib.util.spec_from_file_location("transcribe_published", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def body(script, name: str) -> list[str]:
    block = next(b for b in script.BLOCKS if b.name == name)
    text = paper(block.paper).read_text(encoding="utf-8").splitlines()
    return script.block_lines(text, block)[1]


@pytest.mark.parametrize("name", SIZE)
def test_every_table_has_the_cells_and_numbers_of_the_paper(name):
    table = published.read(name)
    numbers = table[table["value"].notna()]
    filled = numbers.drop_duplicates(["line", "column"])
    assert (len(published.printed_lines(table)), len(filled), len(numbers)) == SIZE[name]


@pytest.mark.parametrize("name", SIZE)
def test_every_number_says_where_it_was_printed(name):
    table = published.read(name)
    assert (table[["paper", "table", "row", "column"]] != "").all(axis=None)
    assert (table["line"] >= 1).all()
    assert all(
        number in raw.replace(",", "") for number, raw in zip(table["printed"], table["raw"], strict=True)
    )


@pytest.mark.parametrize("name", SIZE)
def test_names_are_ours_and_labels_are_the_papers(name):
    table = published.read(name)
    assert set(table["structure"]) <= {"", *STRUCTURES}
    assert set(table["segmenter"]) <= {"", *MODELS}
    assert set(table["modality"]) <= {"", *MODALITIES}
    assert set(table["session"]) <= {"", *SESSIONS}


def test_umd_has_each_organ_twice_structural_first():
    for name, session in (("umd_table1", "petct"), ("umd_table2", "petmr")):
        first = published.read(name).drop_duplicates("line")
        assert first["modality"].tolist() == [SESSIONS[session].structural, "PET"] * 14
        assert first["structure"].tolist()[::2] == [*(o.name for o in ORGANS), "average"]


def test_raw_strings_stay_as_printed():
    table3 = published.read("umd_table3")
    assert {"/", "~0.55", "-", "75.6"} <= set(table3["raw"])
    assert "mlInteractive" in set(published.read("seganypet_s3")["model"])
    assert "—" in set(published.read("seganypet_s4")["raw"])
    nothing = table3[table3["raw"].isin(["/", "-"])]
    assert nothing["value"].isna().all()


@pytest.mark.parametrize("name", SIZE)
def test_the_data_render_to_the_lines_of_the_paper(script, name):
    assert published.printed_lines(published.read(name)) == body(script, name)


@pytest.mark.parametrize("name", SIZE)
def test_a_second_reading_finds_the_same_numbers(script, name):
    # Another way in: every number of the lines by pattern, without cells or columns.
    text = "\n".join(body(script, name))
    pattern = r"(?<![\w.-])\d[\d,]+\b" if name == "seganypet_table1" else r"\d+\.\d+"
    found = Counter(n.replace(",", "") for n in re.findall(pattern, text))
    table = published.read(name)
    assert found == Counter(table["printed"][table["printed"] != ""])


def test_the_script_writes_what_is_in_the_package(script, tmp_path):
    script.main(str(paper("UMD")), str(paper("SegAnyPET")), str(tmp_path))
    for path in sorted(tmp_path.iterdir()):
        packaged = ROOT / "umdlib" / "published" / "data" / path.name
        assert path.read_bytes() == packaged.read_bytes(), path.name


def test_a_text_without_the_table_is_refused(script):
    with pytest.raises(InputError, match=r"UMD, Table 1 is not in the text"):
        script.block_lines(["nothing"], script.BLOCKS[0])


def test_every_table_is_what_was_read():
    assert all(published.is_intact(name) for name in published.SOURCES)


def test_a_changed_digit_is_noticed():
    table = published.read("umd_table1")
    table["raw"] = table["raw"].replace("0.4101(0.5016)", "0.4101(0.0516)")
    digest = hashlib.sha256("\n".join(published.printed_lines(table)).encode()).hexdigest()
    assert digest not in set(tables._data("digests.tsv")["sha256"])


def test_reading_gives_a_copy():
    table = published.read("umd_table1")
    table.loc[0, "value"] = 9.0
    assert published.read("umd_table1").loc[0, "value"] == 0.7039


def test_facts_and_training_name_their_source():
    facts, training = published.read_facts(), published.read_training()
    assert (facts[["paper", "where", "what", "unit"]] != "").all(axis=None)
    assert facts["key"].is_unique
    assert (training["source"] != "").all()
    assert set(training["certainty"]) <= {"quoted", "rounded", "counted", "unknown"}
    assert training[training["volumes"].isna()]["certainty"].eq("unknown").all()


def test_training_volumes_of_seganypet_are_its_table_1():
    own = published.read_training().query("system == 'SegAnyPET' and modality == 'PET'")
    assert own["volumes"].sum() == published.fact("dev_scans")


def test_annotations_point_at_printed_cells():
    for _, note in published.read_annotations().iterrows():
        table = published.read(note["name"])
        assert note["line"] == 0 or note["line"] in set(table["line"])
        assert note["column"] in {"", *table["column"]}


@pytest.mark.parametrize("raw", ["(0.1)", "0.5 (", "good", "0.5(0.1)(0.2)", "1.2e-3"])
def test_a_cell_that_is_none_of_the_forms_is_refused(raw):
    with pytest.raises(InputError, match="Must be 'mean"):
        published.parse_cell(raw)


@pytest.mark.parametrize(
    ("raw", "numbers"),
    [
        ("0.7039(0.1155)", ["0.7039", "0.1155"]),
        ("0.9379 (0.9298–0.9419)", ["0.9379", "0.9298", "0.9419"]),
        ("0.0348 (0.0043-0.1954)", ["0.0348", "0.0043", "0.1954"]),
        ("11,041", ["11041"]),
        ("9828", ["9828"]),
        ("~0.55", ["0.55"]),
        ("0,85 ± 0,08", ["0.85", "0.08"]),
        ("0.8488±0.08242", ["0.8488", "0.08242"]),
        ("0.85 ± 0.08", ["0.85", "0.08"]),
        ("84.9 % ± 8.2 %", ["84.9", "8.2"]),
        (r"$\mathbf{85.2} \pm 3.1$", ["85.2", "3.1"]),
        ("0.91 [0.88, 0.94]", ["0.91", "0.88", "0.94"]),
        ("0.91 (95% CI 0.88 to 0.94)", ["0.91", "0.88", "0.94"]),
        ("0.91 (IQR 0.05)", ["0.91", "0.05"]),
        ("-0.2 (-0.5 to 0.1)", ["-0.2", "-0.5", "0.1"]),
        ("12.3 ± 4.5 mm", ["12.3", "4.5"]),
        ("0.5 ± nan", ["0.5"]),
        ("n/a", []),
        ("/", []),
        ("—", []),
        ("", []),
    ],
)
def test_cells_are_read(raw, numbers):
    assert [n for _, n in published.parse_cell(raw).numbers] == numbers


@pytest.mark.parametrize(
    ("raw", "kind", "names"),
    [
        ("0.9 (0.8-1.0)", "", ("median", "q1", "q3")),
        ("0.9 (0.8-1.0)", "interval", ("mean", "lower", "upper")),
        ("0.9 [0.8-1.0]", "", ("mean", "lower", "upper")),
        ("0.9 [0.8-1.0]", "median", ("median", "q1", "q3")),
        ("0.9 (0.1)", "", ("mean", "sd")),
        ("0.9 (0.1)", "median", ("median", "iqr")),
    ],
)
def test_a_heading_says_what_brackets_hold(raw, kind, names):
    assert tuple(s for s, _ in published.parse_cell(raw, kind=kind).numbers) == names


def test_the_unit_of_the_tolerance_is_not_invented():
    metrics = set(published.read("seganypet_s2")["metric"])
    assert metrics == {"surface_dice_tau1"}
    assert not any("mm" in m for m in metrics)


def test_words_of_captions_are_in_the_papers():
    for row in tables.read_captions().itertuples():
        text = paper(tables.SOURCES[row.name].paper).read_text(encoding="utf-8").replace("*", "")
        assert row.words in text, row.words


def test_an_unknown_table_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'umd_table1'"):
        published.read("umd_tabel1")


def test_an_unknown_n_is_not_guessed():
    with pytest.raises(InputError, match="cohort with a published n"):
        published.n_scans("UMD")


def test_an_unknown_fact_is_refused():
    with pytest.raises(InputError, match="published fact"):
        published.fact("umd_petc")


def test_an_sd_without_a_mean_is_refused():
    table = records([{"structure": "liver", "raw": "0.5(0.1)"}])
    with pytest.raises(InputError, match="An SD needs a mean"):
        published.cells(table[table["statistic"] == "sd"])


def test_a_missing_cell_is_refused():
    table = published.read("umd_table1")
    short = table[~((table["line"] == 3) & (table["column"] == "SAT"))]
    with pytest.raises(InputError, match="line 3: 4 of 5 cells"):
        published.printed_lines(short)


def test_a_cell_that_stands_twice_is_refused():
    table = published.read("umd_table1")
    with pytest.raises(ValueError, match="duplicate"):
        published.cells(pd.concat([table, table.tail(2)]))
