"""What other programs said when they were run agrees with the definitions that they are said to use."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from umdbook.chapters import scoring as chapter
from umdlib.errors import InputError

RECORDED = Path(__file__).parents[3] / "benchmarks" / "results" / "definitions.json"
PAIR = chapter.pair()


@pytest.fixture(scope="module")
def recorded():
    return chapter.read_programs(RECORDED)


@pytest.fixture(scope="module")
def definitions(recorded):
    return chapter.definitions(*PAIR, recorded["tolerance_mm"])


def users(text):
    """Programs that a definition names."""
    return {n for n in re.split(r", | \(default\)(?:, )?", text) if n}


def test_every_program_that_a_definition_names_was_run(recorded, definitions):
    named = set().union(*map(users, definitions["used by"]))
    strangers = {"this project", "from surface-distance's two numbers"}
    assert named - strangers <= set(recorded["programs"])


def test_programs_print_what_their_definition_gives(recorded, definitions):
    answers = chapter.answer_table(recorded).set_index("program")
    compared = 0
    for row in definitions.itertuples():
        for program in answers.index.intersection(list(users(row[3]))):
            if not np.isnan(answers.loc[program, row.metric]):
                assert answers.loc[program, row.metric] == pytest.approx(row.value, rel=1e-5)
                compared += 1
    assert compared >= 8


@pytest.mark.filterwarnings("ignore:monai.metrics:FutureWarning")
def test_monai_and_simpleitk_still_say_what_is_recorded(recorded):
    sitk = pytest.importorskip("SimpleITK")
    pytest.importorskip("monai")
    from monai import metrics as mm

    torch = pytest.importorskip("torch")
    reference, prediction, spacing = PAIR
    pair = [torch.from_numpy(m)[None, None] for m in (prediction, reference)]
    options = {"include_background": True, "spacing": list(spacing)}
    said = recorded["programs"]["MONAI"]["two masks"]
    tolerance = [recorded["tolerance_mm"]]
    assert float(mm.compute_dice(*pair)) == pytest.approx(said["dice"])
    assert float(mm.compute_surface_dice(*pair, tolerance, **options)) == pytest.approx(said["surface_dice"])
    assert float(mm.compute_hausdorff_distance(*pair, percentile=95, **options)) == pytest.approx(
        said["hausdorff_95"]
    )
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(m.T.astype(np.uint8)) for m in PAIR[:2]))
    said = recorded["programs"]["SimpleITK"]["two masks"]["dice"]
    assert overlap.GetDiceCoefficient() == pytest.approx(said)


def test_answers_that_are_no_number_are_words(tmp_path):
    said = dict(zip(chapter.METRICS, (1.0, "nan", "inf", "error"), strict=True))
    none = dict.fromkeys(chapter.METRICS)
    report = {
        "programs": {
            "a": {"version": "1", **dict.fromkeys((*chapter.EMPTY, "two masks"), said)},
            "b": {"version": "2", **dict.fromkeys((*chapter.EMPTY, "two masks"), none)},
        }
    }
    path = tmp_path / "said.json"
    path.write_text(json.dumps(report))
    read = chapter.read_programs(path)
    shown = chapter.empty_table(read)
    assert "| a 1 | 1, NaN, ∞ |" in shown and "| b 2 | –, –, – |" in shown
    answers = chapter.answer_table(read)
    assert answers.loc[0, "HD95"] == np.inf
    assert answers[["NSD", "ASSD"]].isna().all(axis=None)
    with pytest.raises(InputError, match=r"definitions\.py"):
        chapter.read_programs(tmp_path / "none.json")
