"""One click and many lesions: a body of three hot balls beside one warm organ, drawn by hand."""

import numpy as np
import pandas as pd
import pytest

from umdbook.chapters.lesions import pictures as lesion_pictures
from umdbook.chapters.lesions import trial as lesionwise
from umdlib import segmenters
from umdlib.cohort import lesions as lesion_cohort
from umdlib.cohort.manifest import Case
from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, Volume, write_label_map, write_volume
from umdlib.labels import Structure
from umdlib.metrics.masks import dice
from umdlib.prompts.prompt import Click, Prompt
from umdlib.segmenters.contract import Segmenter

ORGAN = Structure(1, "liver", "Liver", "Li", "#b5543a")
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
SHAPE = (40, 24, 60)
# centre and radius in mm: three lesions far from one another, the largest first
BALLS = [((40, 48, 200), 18), ((120, 48, 120), 14), ((60, 48, 60), 10)]


def ball(centre, radius):
    xyz = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) * 4.0
    return ((xyz - centre) ** 2).sum(axis=-1) <= radius**2


@pytest.fixture
def case(tmp_path):
    image = np.full(SHAPE, 0.4, np.float32)
    organ = ball((120, 48, 190), 30)
    image[organ] = 2.5
    lesions = np.zeros(SHAPE, np.uint8)
    for number, (centre, radius) in enumerate(BALLS, start=1):
        image[ball(centre, radius)] = 8.0
        lesions[ball(centre, radius)] = 4 - number
    write_volume(tmp_path / "pet.nii.gz", Volume(image, AFFINE, "SUV"))
    write_label_map(tmp_path / "pet_dseg.nii.gz", LabelMap(organ.astype(np.uint8), AFFINE))
    write_label_map(tmp_path / "pet_label-lesion_dseg.nii.gz", LabelMap(lesions, AFFINE))
    return Case(
        "sub-001", "petct", "PET", "SUV", tmp_path / "pet.nii.gz", tmp_path / "pet_dseg.nii.gz", (ORGAN,)
    )


def test_each_click_finds_one_lesion_and_the_largest_comes_first(case):
    trial = lesionwise.run_trial(case, "threshold", ORGAN)
    table = lesionwise.click_table(trial)
    assert table["delineated"].tolist() == [1, 2, 3]
    assert table["beyond"].tolist() == [0, 0, 0]
    assert table["lesions"].tolist() == [3, 3, 3]
    assert table["invented"].tolist() == [0, 0, 0]
    # the segmenter takes each ball whole (flat, far above 41 % of itself over the background)
    sizes = [int(ball(c, r).sum()) for c, r in BALLS]
    shares = [2 * sum(sizes[:k]) / (sum(sizes[:k]) + sum(sizes)) for k in (1, 2, 3)]
    assert table["dice"].tolist() == pytest.approx(shares)
    assert np.allclose(trial.clicks[0].xyz_mm, BALLS[0][0], atol=4)


def test_the_summary_has_the_three_ways(case):
    summary = lesionwise.summary_table(lesionwise.run_trial(case, "threshold", ORGAN))
    assert summary["way"].tolist() == ["Liver, one click", "Lesions, one click", "Lesions, one click each"]
    assert summary["clicks"].tolist() == [1, 1, 3]
    assert summary["parts"].tolist() == [1, 3, 3]
    assert summary["delineated"].tolist() == [1, 1, 3]
    assert summary["beyond"].tolist() == [0, 0, 0]
    assert summary["dice"].iloc[[0, 2]].tolist() == [1.0, 1.0]


def test_words_say_what_the_table_says(case):
    words = lesionwise.trial_words(lesionwise.run_trial(case, "threshold", ORGAN))
    assert "DSC of 1.000" in words and "3 separate lesions" in words
    assert "on the largest finds 0 of the 2 others" in words
    assert "3 in all, 3 are delineated" in words and "have a DSC of 1.000" in words


def test_a_click_gives_no_detection_away(case):
    """A segmenter that marks the clicked voxel finds nothing, and one that floods delineates nothing."""

    def point(image, prompt, previous=None):
        mask = np.zeros(image.shape, bool)
        mask[tuple(np.rint(np.array(prompt.clicks[0].xyz_mm) / 4).astype(int))] = True
        return mask

    for name, call, beyond in (
        ("point_of_test", point, [0, 0, 0]),
        ("flood_of_test", lambda image, prompt, previous=None: image.data > 1, [2, 1, 0]),
    ):
        segmenters.register(Segmenter(name, "P", "P.", lambda device, c=call: c, frozenset({"click"})))
        trial = lesionwise.run_trial(case, name, ORGAN)
        table = lesionwise.click_table(trial)
        assert table["delineated"].tolist() == [0, 0, 0]
        assert table["beyond"].tolist() == beyond
    rows = lesionwise.lesion_table(trial)
    assert rows["others"].tolist() == [2, 2, 2] and rows["lesion"].tolist() == [1, 2, 3]
    assert rows["leak_ml"].tolist() == pytest.approx([ball((120, 48, 190), 30).sum() * 0.064] * 3)


def test_the_contour_of_a_lesion_stays_in_it_where_the_threshold_floods():
    """A cool lesion of 2 SUV in tissue of 0.9: 41 % of its maximum lies below the tissue."""
    image = np.full(SHAPE, 0.9, np.float32)
    lesion = ball((68, 48, 188), 8)
    image[lesion] = 2.0
    volume = Volume(image, AFFINE, "SUV")
    click = Prompt("lesion", (Click((68.0, 48.0, 188.0)),))
    found = {
        n: segmenters.load(segmenters.get(n), "cpu")(volume, click) for n in ("threshold", "lesion_contour")
    }
    assert dice(lesion, found["threshold"]) < 0.3
    assert dice(lesion, found["lesion_contour"]) > 0.8


def test_what_cannot_be_tried_is_said(case):
    with pytest.raises(InputError, match="Structure spleen is absent from sub-001_petct_PET"):
        lesionwise.run_trial(case, "threshold", Structure(6, "spleen", "Spleen", "Sp", "#8c6bb1"))
    with pytest.raises(InputError, match="takes no click"):
        lesionwise.run_trial(case, "sat_pro", ORGAN)
    lesion_cohort.lesion_file(case).unlink()
    with pytest.raises(InputError, match="synthesise OUT --lesions"):
        lesionwise.run_trial(case, "threshold", ORGAN)


def test_no_lesion_is_an_error(case):
    write_label_map(lesion_cohort.lesion_file(case), LabelMap(np.zeros(SHAPE, np.uint8), AFFINE))
    with pytest.raises(InputError, match="holds no lesion"):
        lesion_cohort.read_lesions(case)


def test_the_organ_shown_is_the_best_of_the_run():
    structures = (ORGAN, Structure(4, "brain", "Brain", "Br", "#cc79a7"))
    rows = [("liver", 0.5), ("brain", 0.9), ("brain", 0.7), ("liver", 0.6)]
    table = pd.DataFrame(rows, columns=["structure", "dice"]).assign(
        segmenter="a", modality="PET", step=0, prompt="centre"
    )
    assert lesionwise.best_organ(table, structures, segmenter="a").name == "brain"
    assert lesionwise.best_organ(table, structures, segmenter="b").name == "liver"


def test_the_viewer_counts_lesions_and_shares_one_image(case, tmp_path):
    trial = lesionwise.run_trial(case, "threshold", ORGAN)
    pair = lesion_pictures.viewer(trial, spacing_mm=8.0)
    config = pair._built.config
    assert config["step_title"] == "Lesions clicked after the first"
    one, many = config["panes"]
    assert one["image"] == many["image"]
    assert [p["step"] for p in many["predictions"]] == [0, 1, 2]
    assert [len(p["clicks"]["lesions"]) for p in many["predictions"]] == [1, 2, 3]
    # the poster shows what the script will show: the last step on the right, the only one on the left
    assert {one["predictions"][0]["bits"], many["predictions"][2]["bits"]} <= set(config["first"])


def test_the_figure_draws_outline_fill_and_clicks(case):
    import matplotlib

    matplotlib.use("Agg")
    trial = lesionwise.run_trial(case, "threshold", ORGAN)
    figure = lesion_pictures.three_ways(trial)
    assert [len(ax.lines) for ax in figure.axes] == [6, 6, 14]  # four strokes per click, two of the scale bar
    colours = [ax.images[0].get_array().astype(int) for ax in figure.axes]
    filled = [(c[..., 0] - c[..., 2] > 60).sum() for c in colours]
    assert 0 < filled[1] < filled[2]
    assert [len(ax.collections) for ax in figure.axes] == [1, 1, 1]  # the reference's outline
