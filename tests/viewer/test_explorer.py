"""The case explorer: columns that hold every score, and a page where a row opens its subject."""

import base64
import gzip
import json
import re
import types

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import viewer_phantom as phantom

from umdlib import figures
from umdlib.scores.simulated import score_table
from umdlib.statistics.pairs import paired_differences
from umdlib.viewer import explorer


def scores():
    table = score_table(n_subjects=3, structures=["liver", "spleen"], gap={"region": -0.1, "threshold": 0.1})
    table["assd"] = 10 * (1 - table["dice"])
    boxed = table.assign(prompt="box", dice=table["dice"] / 2)
    return pd.concat([table, boxed], ignore_index=True)


def test_the_columns_hold_every_score_and_key():
    table = scores()
    data = explorer.score_columns(table)
    for key in ("subject", "modality", "structure", "segmenter"):
        assert [data["names"][key][c] for c in data["codes"][key]] == table[key].tolist()
    assert np.allclose(np.array(data["values"]["dice"]) / 1e4, table["dice"], atol=5e-5)
    assert json.loads(json.dumps(data)) is not None


def test_an_undefined_score_has_a_value_only_under_the_rules_that_give_one():
    table = scores()
    table.loc[0, ["dice", "status"]] = [np.nan, "both_empty"]
    table.loc[1, ["dice", "status"]] = [np.nan, "failed"]
    data = explorer.score_columns(table)
    assert data["values"]["dice"][:2] == [None, None]
    assert data["filled"]["dice"] == {"zero": {0: 0}, "one": {0: 10000}, "worst": {0: 0, 1: 0}}


def test_a_segmenter_that_was_not_available_has_no_row():
    table = scores()
    gone = table["segmenter"].eq("region")
    table.loc[gone, "status"] = "unavailable"
    data = explorer.score_columns(table)
    assert data["names"]["segmenter"] == ["threshold"]
    assert len(data["codes"]["subject"]) == (~gone).sum()


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page with the explorer of three subjects, all of whom have the phantom's images."""
    table = scores()
    cases = [
        [types.SimpleNamespace(subject=s, session="petct", modality=m) for m in ("CT", "PET")]
        for s in table["subject"].unique()
    ]
    cohort = types.SimpleNamespace(
        pairs=lambda: cases, structures=phantom.STRUCTURES, sessions=lambda: ["petct"]
    )
    given = []

    def fake(pair, *, name, overlay, outline, **options):
        given.append(options)
        return phantom.pair(spacing_mm=10.0, name=name, overlay=overlay, outline=outline)

    monkeypatch.setattr(explorer, "read_viewer", fake)
    made = explorer.CaseExplorer(cohort, table, "run", {"region": "Region growing"})
    text = made.write(tmp_path / "umd")
    phantom.write_page(tmp_path, text)
    assert all(set(o["segmenters"]) == {"region", "threshold"} for o in given)
    assert {o["structure"] for o in given} <= {"liver", "spleen"}
    return tmp_path, text


def test_the_page_is_light_and_its_records_lie_beside_it(page):
    folder, text = page
    assert len(text) < 30_000
    config = json.loads(re.search(r'application/json">(.*?)</script>', text).group(1).replace("<\\/", "</"))
    assert len(config["cases"]) == 3
    script = (folder / "umd" / "records" / f"{config['scores']}.js").read_text()
    packed = script.split('"]="')[1].split('"')[0]
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert data["names"]["segmenter"] == ["region", "threshold"]
    records = {p.stem for p in (folder / "umd" / "records").glob("*.js")}
    assert records == {config["scores"], *config["cases"].values()}
    assert not records & {p.stem for p in (folder / "umd" / "volumes").glob("*.js")}


@pytest.mark.browser
def test_the_list_starts_with_the_largest_loss_and_a_row_opens_its_subject(page, browser):
    table = scores()
    wide = table.pivot_table(index=["subject", "structure", "segmenter"], columns="modality", values="dice")
    worst = (wide["PET"] - wide["CT"])[:, :, "region"].idxmin()
    tab = browser.new_page()
    faults = []
    tab.on("pageerror", lambda e: faults.append(str(e)))
    tab.goto(f"file://{page[0]}/results/page.html")
    tab.wait_for_selector(".umd-cases tbody tr")
    first = tab.locator(".umd-cases tbody tr").first
    assert worst[0] in first.inner_text() and worst[1].title() in first.inner_text()
    assert "Region growing" in first.inner_text()
    assert tab.locator(".umd-strips .umd-pair").count() == 6
    tab.get_by_label("List by").select_option("gain")
    assert worst[0] not in tab.locator(".umd-cases tbody tr").first.inner_text()
    tab.get_by_label("List by").select_option("loss")
    tab.locator(".umd-cases tbody button").first.click()
    tab.wait_for_selector(".umd-cases figure[data-umd-ready]", timeout=120_000)
    figure = tab.locator(".umd-cases figure")
    assert figure.get_by_label("Segmenter", exact=True).input_value() == "region"
    assert (
        figure.get_by_label("Structure", exact=True).locator("option:checked").inner_text()
        == worst[1].title()
    )
    assert "Error 1 of" in figure.locator(".umd-legend").inner_text()
    link = tab.url
    assert f"open={worst[0]}" in link
    again = browser.new_page()
    again.goto(link)
    again.wait_for_selector(f"#case-{worst[0]}-petct[data-umd-ready]", timeout=120_000)
    assert not faults
    tab.close()
    again.close()


@pytest.mark.browser
def test_a_click_on_a_point_of_a_chart_stands_in_its_case(page, browser):
    results = page[0] / "results"
    (results / "page.html").rename(results / "cases.html")
    wanted = "segmenter == 'region' and structure == 'spleen' and prompt == 'box'"
    pairs = paired_differences(scores()).query(wanted)
    with mpl.rc_context({"backend": "agg"}):
        drawn = figures.to_svg(figures.paired_plot(pairs, n_resamples=200).figure)
    (results / "chart.html").write_text(f"<!doctype html>{drawn}", "utf-8")
    last = pairs["subject"].iloc[-1]
    tab = browser.new_page()
    tab.goto(f"file://{results}/chart.html")
    tab.locator(f"svg a[aria-label^='{last}, Spleen, region: CT 0.']").last.click()
    figure = tab.locator(f"#case-{last}-petct")
    figure.wait_for(timeout=60_000)
    assert tab.url.startswith(f"file://{results}/cases.html#")
    assert figure.get_by_label("Segmenter", exact=True).input_value() == "region"
    chosen = figure.get_by_label("Structure", exact=True).locator("option:checked")
    assert chosen.inner_text() == "Spleen"
    # the list is of the chart's prompt, and the page says that the viewer holds another's mask
    assert tab.get_by_label("Prompt", exact=True).input_value() == "box, 0, 0"
    shown = f"{pairs['pet'].iloc[-1]:.3f}"
    assert shown in tab.locator(".umd-cases tr.umd-shown").inner_text()
    assert "after the prompt centre, seed 0; the row is of box" in tab.locator(".umd-case").inner_text()
    tab.close()


def test_in_a_notebook_without_a_site_it_says_where_to_look(monkeypatch):
    monkeypatch.delenv("UMD_STATIC", raising=False)
    made = explorer.CaseExplorer(None, pd.DataFrame(), "run")
    assert "explore.ipynb" in made._repr_html_()
