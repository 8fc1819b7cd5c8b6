"""What the chapters on single subjects read from a cohort and from a run."""

import http.server
import threading
import types

import numpy as np
import pytest

from umdbook.chapters import gallery
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.scores.simulated import score_table
from umdlib.viewer import cases as exhibits
from umdlib.viewer import live


@pytest.fixture
def cohort(make_cohort):
    return read_cohort(make_cohort(2))


def test_the_first_pair_of_each_session_is_shown(cohort):
    (pair,) = exhibits.first_pairs(cohort)
    assert [c.name for c in pair] == ["sub-001_petct_CT", "sub-001_petct_PET"]
    assert exhibits.first_pairs(cohort, "sub-002")[0][0].subject == "sub-002"
    with pytest.raises(InputError, match="Did you mean 'sub-002'"):
        exhibits.first_pairs(cohort, "sub-02")


def test_cases_of_two_subjects_share_no_viewer(cohort):
    with pytest.raises(InputError, match="cases of one examination"):
        exhibits.read_viewer([cohort.pairs()[0][0], cohort.pairs()[1][0]])


def test_intensities_are_means_inside_the_reference(cohort):
    pair = cohort.pairs()[0]
    table = exhibits.intensity_table(pair).set_index("structure")
    image, reference = pair[1].read()
    inside = reference.data == pair[1].structures[0].value
    assert table["PET (SUV)"].iloc[0] == pytest.approx(image.data[inside].mean(), rel=1e-4)
    assert table["PET (ml)"].iloc[0] == pytest.approx(inside.sum() * 0.064)


def test_extremes_are_the_extremes_of_the_table():
    table = score_table(n_subjects=5, seed=3)
    picked = gallery.success_and_failure(table, segmenter="a", modality="CT", session="petct")
    rows = table[(table.segmenter == "a") & (table.modality == "CT") & (table.step == 0)]
    rows = rows[rows.structure == picked.structure.iloc[0]]
    assert picked.dice.tolist() == [rows.dice.max(), rows.dice.min()]
    ranges = table[(table.segmenter == "a") & (table.modality == "CT")].groupby("structure").dice
    assert np.ptp(rows.dice) == pytest.approx((ranges.max() - ranges.min()).max())


def test_the_largest_loss_is_the_most_negative_difference():
    table = score_table(n_subjects=4, seed=1)
    losses = gallery.largest_losses(table, segmenter="b", session="petct", n=2)
    wide = table[table.segmenter == "b"].pivot(
        index=["subject", "structure"], columns="modality", values="dice"
    )
    wanted = (wide.PET - wide.CT).sort_values().head(2)
    assert losses.difference.to_numpy() == pytest.approx(wanted.to_numpy())


def test_without_scores_of_a_session_there_is_no_best_segmenter():
    with pytest.raises(InputError, match="No dice of session petmr"):
        gallery.best_segmenter(score_table(n_subjects=2), session="petmr")


def test_a_live_view_is_the_pages_viewer(cohort, monkeypatch):
    monkeypatch.delenv("UMD_STATIC", raising=False)
    shown = live.view(cohort.pairs()[0], structure="ball")
    assert [p.modality for p in shown.panes] == ["CT", "PET"]
    assert shown._repr_html_().startswith("<iframe")


def test_itkwidgets_that_is_missing_is_explained(cohort, monkeypatch):
    def missing(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(live.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'umdlib\[itk\]'"):
        live.view(cohort.cases[0], engine="itk")
    with pytest.raises(InputError, match="Known: page, itk"):
        live.view(cohort.cases[0], engine="vtk")


def test_itkwidgets_without_internet_is_a_sentence_and_no_blank_cell(cohort, monkeypatch):
    config = types.SimpleNamespace(ITK_VIEWER_SRC="http://127.0.0.1:9/viewer/")
    monkeypatch.setattr(live.importlib, "import_module", lambda name: config)
    with pytest.raises(InputError, match=r"its viewer at 127\.0\.0\.1 cannot be reached from here"):
        live.view(cohort.cases[0], engine="itk")


def test_a_server_that_answers_with_an_error_is_reachable():
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert live.reachable(f"http://127.0.0.1:{server.server_port}/")
    assert not live.reachable("http://127.0.0.1:9/")
