import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from published_help import ROOT

mpl.use("Agg")
import matplotlib.pyplot as plt

from umdbook.chapters import published as chapter
from umdlib import published
from umdlib.errors import InputError
from umdlib.figures import chart_numbers, is_drawing, narrow_form
from umdlib.figures.narrow import WIDTH
from umdlib.published import diagrams, explorer, figures, markup, pairing
from umdlib.published.tolerance import dice_at_nsd
from umdlib.published.words import caption_words
from umdlib.tables import interactive

NOTEBOOKS = sorted((ROOT / "notebooks").glob("published_*.ipynb"))


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_the_room_never_imports_torch_or_matplotlib():
    code = "import sys, umdlib.published, umdlib.tables.interactive; print([m for m in ('torch', "
    code += "'matplotlib') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.strip() == "[]", run.stderr


def test_a_table_has_both_modalities_the_best_and_the_certain_marks():
    table = markup.modality_table("umd_table1").set_index("Organ")
    cell = table.loc["Liver", "VISTA3D"]
    assert cell == "[**0.9186** (0.0378)‡]{.umd-ct .umd-sig4} [0.0676 (0.0475)]{.umd-pet}"
    assert table.shape == (14, 6)
    bold = table.iloc[:, 1:].map(lambda c: c.count("**") // 2).sum(axis=1)
    assert (bold >= 2).all()


def test_bold_is_the_highest_of_the_line():
    for name in ("seganypet_s1", "seganypet_s2"):
        table = markup.quartile_table(name, rows="model")
        wide = published.cells(published.read(name))
        for organ in table.columns[1:]:
            best = table[organ][table[organ].str.startswith("**")].str.strip("*").str[:6]
            assert float(best.iloc[0]) == wide[wide["column"] == organ]["median"].max()


def test_a_pipe_does_not_break_a_table():
    assert "a \\| b" in markup.pipe_table(pd.DataFrame({"x": ["a | b"]}))


def test_an_unpublished_number_is_said_to_be_so():
    table = markup.training_table(published.read_training()).set_index("System")
    assert table.loc["nnInteractive", "Volumes"] == "not published"


def test_explorer_holds_every_dsc_once():
    scores = explorer.comparable_scores()
    # 130 + 10 of each UMD table, 36 x 6 + 3 of table S4, 4 x 5 task-specific of table S1.
    assert len(scores) == 280 + 219 + 20
    assert not scores.duplicated(["condition", "structure", "segmenter"]).any()
    assert scores[["lo", "hi"]].stack().between(0, 1).all()  # noqa: PD013
    assert (scores["lo"] <= scores["v"]).all()
    assert (scores["v"] <= scores["hi"]).all()


@pytest.mark.parametrize(
    ("by", "condition", "chosen", "kind"),
    [
        ("organ", "UMD-PETCT CT (UMD)", "segvol", "kind of line"),
        ("structure", "UMD CT", "segvol", "condition"),
        ("structure", "UMD-PETCT CT (UMD)", "seganypet", "segmenter of UMD-PETCT"),
    ],
)
def test_a_selection_that_was_not_published_is_refused(by, condition, chosen, kind):
    with pytest.raises(InputError, match=kind):
        explorer.pick(explorer.comparable_scores(), by=by, condition=condition, chosen=chosen)


TAB = re.compile(r"^::::\{tab-item\} (.+?)$(.*?)^::::$", re.M | re.S)


def test_a_tab_holds_the_table_that_its_title_names_and_no_heading():
    seen = 0
    for notebook in NOTEBOOKS:
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
            for title, body in TAB.findall("".join(cell["source"])):
                words = {w.strip("():,") for w in re.search(r"^:::\{table\} (.*)$", body, re.M)[1].split()}
                assert {w.strip("()") for w in title.split()} <= words, (notebook.name, title)
                assert body.count("{table}") == 1 and not re.search(r"^#", body, re.M), (notebook.name, title)
                seen += 1
    assert seen


def test_scripts_are_small_and_ask_the_network_for_nothing():
    folder = Path(interactive.__file__).parent
    files = [*folder.rglob("*.js"), *folder.rglob("*.css")]
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert len(text.encode()) < 20_000
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "fetch(" not in text


def test_data_cannot_end_their_script():
    assert "</" not in interactive.embed_json({"a": "</script>"})
    assert json.loads(interactive.embed_json({"a": "</b>"})) == {"a": "</b>"}


def test_pairing_removes_the_confounding_and_the_spread():
    world = pairing.World()
    found = pairing.simulate_benchmarks(world, np.random.default_rng(5), repeats=400)
    errors = pairing.design_errors(found, world).set_index("design")
    for design, bias in (("own tasks", world.confounding), ("same structures", 0), ("paired", 0)):
        sd = pairing.expected_sd(world, design, n_subjects=40, n_structures=13)
        assert abs(errors.loc[design, "bias"] - bias) < 4 * sd / np.sqrt(400)
        assert np.isclose(errors.loc[design, "sd"], sd, rtol=0.15)


def test_the_same_seed_gives_the_same_simulation():
    runs = [
        pairing.simulate_benchmarks(pairing.World(), np.random.default_rng(7), repeats=5) for _ in range(2)
    ]
    pd.testing.assert_frame_equal(*runs)


def test_boxes_are_the_printed_quartiles():
    wide = published.cells(published.read("seganypet_s1"))
    ax = figures.quartile_boxes(wide)
    first = ax.patches[0].get_path().vertices[:, 1]
    assert np.isclose(first.min(), 0.9298)
    assert np.isclose(first.max(), 0.9419)


def test_figures_return_their_axes():
    wide = published.cells(published.read("umd_table1"))
    own = wide.query("segmenter == 'sat_pro' and structure != 'average'")
    effort = figures.prompt_effort(published.cells(published.read("seganypet_s3")))
    world = pairing.World()
    found = pairing.simulate_benchmarks(world, np.random.default_rng(1), repeats=20)
    rows = pd.DataFrame({"label": ["a"], "difference": [0.1], "sd_a": [0.2], "sd_b": [0.1], "n": [50]})
    selection = {"a": ("UMD-PETCT CT (UMD)", "segvol"), "b": ("PETS-Organ PET (SegAnyPET)", "sat_pro")}
    draw = [
        lambda ax: figures.modality_dumbbells(own, ax),
        lambda ax: figures.training_bars(published.read_training(), ax),
        lambda ax: figures.sd_arch(wide, 490, ax),
        lambda ax: figures.p_against_rho(rows, ax),
        lambda ax: figures.effort(effort, "points", ax),
        lambda ax: figures.effort(effort, "seconds", ax),
        lambda ax: figures.simulated_estimates(found, world, ax),
        diagrams.validation_designs,
        diagrams.click_loop,
        diagrams.prompting_schemes,
        lambda ax: figures.two_selections(explorer.comparable_scores(), by="structure", ax=ax, **selection),
    ]
    for function in draw:
        ax = plt.figure().add_subplot()
        assert function(ax) is ax


def test_charts_of_the_papers_numbers_are_drawings_with_a_form_for_phones():
    wide = published.cells(published.read("umd_table1")).query("structure != 'average'")
    boxes = published.cells(published.read("seganypet_s1"))
    made = {
        figures.dumbbell_panels(wide)[0, 0]: len(wide),
        figures.quartile_boxes(boxes): boxes["median"].notna().sum(),
        figures.cohort_bars()[0]: 20,
        diagrams.validation_designs(): 0,
        diagrams.click_loop(): 0,
        diagrams.prompting_schemes(): 0,
    }
    for ax, n_numbers in made.items():
        assert is_drawing(ax.figure) and len(chart_numbers(ax.figure)) == n_numbers
        small = narrow_form(ax.figure)
        assert small.get_figwidth() == WIDTH and small.get_tightbbox().width < 1.1 * WIDTH
    plt.close("all")


def test_boxes_lie_down_on_phones_with_the_same_quartiles():
    wide = published.cells(published.read("seganypet_s1"))
    ax = figures.quartile_boxes(wide)
    upright, lying = ax.patches[0], narrow_form(ax.figure).axes[0].patches[0]
    assert np.allclose(upright.get_path().vertices[:, 1], lying.get_path().vertices[:, 0])
    plt.close("all")


@pytest.mark.parametrize(
    "draw", [diagrams.click_loop, diagrams.prompting_schemes, diagrams.validation_designs]
)
def test_both_forms_of_a_diagram_say_the_same(draw):
    ax = draw()
    words = [
        sorted(" ".join(t.get_text() for t in form.texts).split())
        for form in (ax, narrow_form(ax.figure).axes[0])
    ]
    assert words[0] == words[1] and len(words[0]) > 10
    plt.close("all")


def test_points_of_slice_wise_systems_are_three_or_five_per_slice():
    effort = figures.prompt_effort(published.cells(published.read("seganypet_s3")))
    assert effort[["points_low", "points_high"]].to_numpy().tolist()[:2] == [[45, 90], [75, 150]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_chapter_is_a_template(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert cells[0]["source"][0].startswith("# ")
    assert cells[0]["source"][0].strip().endswith("?")
    assert cells[1]["metadata"]["tags"] == ["parameters"]
    assert all(":" in line and "#" in line for line in cells[1]["source"] if line.strip())
    assert not any(c.get("outputs") or c.get("execution_count") for c in cells)
    assert "What this does not show" in "".join(cells[-1]["source"])
    figures_ = [c["metadata"]["mystnb"] for c in cells if "mystnb" in c["metadata"]]
    assert all(f["image"]["alt"] and f["figure"]["caption"] for f in figures_)


PAGE = """<!doctype html><html><meta charset="utf-8"><body><table class="table umd-live" id="tab-x"><caption>C</caption>
<thead><tr><th>Organ</th><th> </th><th>A</th></tr></thead><tbody>
<tr><td>Liver</td><td><span class="umd-ct">CT</span> <span class="umd-pet">PET</span></td>
<td><span class="umd-ct">0.2 (0.1)</span> <span class="umd-pet">0.9 (0.1)‡</span></td></tr>
<tr><td>Brain</td><td><span class="umd-ct">CT</span> <span class="umd-pet">PET</span></td>
<td><span class="umd-ct">0.7 (0.1)</span> <span class="umd-pet">0.1 (0.1)</span></td></tr>
</tbody></table>%s</body></html>"""


def organs(page):
    return page.locator("tbody tr:visible td:first-child").all_inner_texts()


@pytest.mark.browser
def test_a_live_table_sorts_filters_and_exports(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(PAGE % interactive.live_tables(), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.get_by_role("button", name="A", exact=True).click()
    assert organs(page) == ["Brain", "Liver"]
    page.get_by_label("Sort by").select_option(label="PET")
    assert organs(page) == ["Liver", "Brain"]
    assert page.locator("th").nth(2).get_attribute("aria-sort") == "descending"
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text.splitlines()[:3] == ["Organ,,A", "Liver,CT,0.2 (0.1)", "Liver,PET,0.9 (0.1)‡"]
    with page.expect_download() as download:
        page.get_by_role("button", name="LaTeX").click()
    assert r"Liver & PET & 0.9 (0.1)$^\ddagger$ \\" in Path(download.value.path()).read_text()
    page.get_by_role("searchbox").fill("brain")
    assert organs(page) == ["Brain"]
    assert "1 of 2 rows" in page.locator(".umd-count").inner_text()
    page.close()


PAIRS = """<!doctype html><meta charset="utf-8"><table class="umd-live"><caption>C</caption>
<thead><tr><th>Organ</th><th>Modality</th><th>A</th></tr></thead><tbody>
<tr><td>Liver</td><td>CT</td><td>0.9</td></tr><tr><td></td><td>PET</td><td>0.3</td></tr>
<tr><td>Brain</td><td>CT</td><td>0.4</td></tr><tr><td></td><td>PET</td><td>0.8</td></tr>
<tr><td>Colon</td><td>CT</td><td>0.6</td></tr><tr><td></td><td>PET</td><td>0.1</td></tr></tbody></table>%s"""


@pytest.mark.browser
def test_a_sort_or_a_filter_keeps_the_rows_of_a_pair_together(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(PAIRS % interactive.live_tables(), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())

    def cells():
        return [text.split("\t") for text in page.locator("tbody tr:visible").all_inner_texts()]

    page.get_by_role("button", name="A", exact=True).click()
    assert [row[-1] for row in cells()] == [
        "0.9",
        "0.3",
        "0.6",
        "0.1",
        "0.4",
        "0.8",
    ]  # by CT, the highest first
    page.get_by_label("Sort by").select_option(label="PET")
    assert [row[-1] for row in cells()] == ["0.4", "0.8", "0.9", "0.3", "0.6", "0.1"]
    page.get_by_role("button", name="Organ", exact=True).click()
    assert [row[0].strip() for row in cells()] == ["Brain", "", "Colon", "", "Liver", ""]
    page.get_by_role("searchbox").fill("liver")
    assert [row[-1] for row in cells()] == ["0.9", "0.3"]
    # two sessions, of which each has its own structural image; what is missing comes last
    rows = [
        ("PET/MR", "MR", "0.2"),
        ("PET/MR", "PET", "–"),
        ("PET/CT", "CT", "0.5"),
        ("PET/CT", "PET", "0.1"),
    ]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    path.write_text(
        re.sub("<tbody>.*</tbody>", f"<tbody>{body}</tbody>", path.read_text("utf-8"), flags=re.S), "utf-8"
    )
    page.reload()
    page.get_by_role("button", name="A", exact=True).click()
    assert [row[-1] for row in cells()] == ["0.5", "0.1", "0.2", "–"]
    page.get_by_label("Sort by").select_option(label="PET")
    assert [row[-1] for row in cells()] == ["0.5", "0.1", "0.2", "–"]
    page.locator("th .umd-sort").nth(2).click()  # the other way round
    assert [row[-1] for row in cells()] == ["0.5", "0.1", "0.2", "–"]
    assert page.get_by_label("Sort by").locator("option").all_inner_texts() == ["CT or MR", "PET"]
    page.close()


@pytest.mark.browser
def test_the_explorer_compares_what_is_chosen(browser, tmp_path):
    path = tmp_path / "page.html"
    html = interactive.live_tables() + interactive.explorer(explorer.explorer_data(), fallback="")
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{html}</body>", encoding="utf-8")
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(path.as_uri())
    row = page.locator("#explorer tbody tr", has_text="Liver").first
    assert row.locator("td").nth(2).inner_text() == "−0.1089"  # 0.3904 - 0.4993
    select = page.locator(".umd-explorer select")  # lines, order, A, of A, B, of B
    select.nth(3).select_option("sam_med3d_turbo")
    select.nth(5).select_option("sam_med3d_turbo")
    row = page.locator("#explorer tbody tr", has_text="Liver").first
    assert row.locator("td").nth(2).inner_text() == "−0.0204"  # 0.6835 - 0.7039
    select.nth(0).select_option("segmenter")
    assert page.locator("#explorer tbody tr").count() == 5
    select.nth(4).select_option(label="PET of PET/MR (SegAnyPET, median)")
    notes = " ".join(page.locator(".umd-note").all_inner_texts())
    assert "mean is set beside a median" in notes
    assert "not a paired difference" in notes
    assert errors == []
    page.close()


def test_captions_are_filled_with_the_papers_numbers():
    words = caption_words()
    # SegAnyPET, table 1, and UMD, section 3.
    assert {k: words[k] for k in ("n_umd_petct", "n_umd_petmr", "n_pets_organ", "n_pets_lc", "n_organs")} == {
        "n_umd_petct": "490",
        "n_umd_petmr": "464",
        "n_pets_organ": "100",
        "n_pets_lc": "638",
        "n_organs": "13",
    }
    assert (words["n_cells"], words["nnunet_cases"], words["tau"], words["slices"]) == (
        "140",
        "10",
        "1",
        "15 to 30",
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_number_of_subjects_is_typed_into_a_chapter(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    texts = ["".join(c["source"]) for c in document["cells"] if c["cell_type"] == "markdown"]
    texts += [
        c["metadata"]["mystnb"]["figure"]["caption"] for c in document["cells"] if "mystnb" in c["metadata"]
    ]
    sizes = {v for k, v in caption_words().items() if k.startswith("n_") and int(v) > 100}
    for text in texts:
        assert not re.search(rf"(?<![\d.])({'|'.join(sizes)})(?![\d.])", text), text
        names = set(re.findall(r"\$(\w+)", text))
        assert names <= {*caption_words(), "alpha", "cohort"}, names


def test_a_tolerance_of_one_voxel_asks_more_than_a_ball_can_give():
    # Half of the surface within 1 mm: SD 1/0.6745, mean size 1.183 mm; liver 1500 ml, radius 71.0 mm.
    assert np.isclose(dice_at_nsd(0.5, 1.0, 1500.0), 1 - 1.183 * 3 / 71.0 / 2, atol=1e-4)
    assert chapter.balls_below(4.0) == {"n_below_mm": 0, "n_below_voxel": 5}
    with pytest.raises(InputError, match="NSD must lie between"):
        dice_at_nsd(1.0, 1.0, 10.0)


def test_the_scale_is_the_network_trained_on_the_images():
    table = chapter.reference_table().set_index("System")
    assert table.loc["nnInteractive", "UMD PET/CT PET"] == "57%"  # 0.342 / 0.605
    assert table.loc["nnU-Net"].tolist() == ["0.686", "0.605", "0.652", "0.560"]
    assert np.isclose(chapter.reference_changes()["nnunet_ct"], 0.605 - 0.686)


def test_the_chapter_on_the_audit_computes_its_numbers():
    numbers = chapter.audit_numbers(published.audit_papers())
    assert (numbers["sd_printed"], numbers["slip"], numbers["fullest"]) == ("0.5016", "0.0516", "11 to 12")
    assert (numbers["n_counts"], numbers["n_reversed"], numbers["n_order"]) == (18, 7, 260)
    assert chapter.specialists()["n_above_1"] == 0


def test_every_verdict_has_a_table_even_without_a_sentence(monkeypatch):
    glued = {}
    monkeypatch.setattr("myst_nb.glue", lambda key, value, display: glued.update({key: value}))
    claims = published.evaluate(published.ALL_CLAIMS)
    chapter.show_claims(claims[claims["verdict"] == "supported"])
    assert glued["n_contradicted"] == 0
    assert "tab_depends_on_the_reading" in glued


def test_the_example_of_the_audit_has_one_impossible_cell(tmp_path):
    table = published.read_table(chapter.write_example(tmp_path))
    found = published.audit_table(table)
    assert found[found["grade"].isin(["impossible", "inconsistent", "suspect"])]["printed"].tolist() == [
        "0.8833 ± 0.7597"
    ]


def test_glued_numbers_are_plain(monkeypatch):
    glued = {}
    monkeypatch.setattr("myst_nb.glue", lambda key, value, display: glued.update({key: value}))
    chapter.show_numbers(a=np.float64(0.5), b=np.int64(3), c="x")
    assert [repr(v) for v in glued.values()] == ["0.5", "'+0.500'", "3", "'x'"]
