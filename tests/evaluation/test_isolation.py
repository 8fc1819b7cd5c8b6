"""A segmenter in a process of its own is told what will be asked, as one in this process is."""

import pytest

from umdlib import evaluation
from umdlib.cohort.manifest import read_cohort
from umdlib.evaluation.plans import Plan, Settings

ONE = Settings((Plan("centre", (0,), 0),))
# Keeps one encoding; a file has a line per encoding. What is told in advance is encoded together.
MODULE = """
from pathlib import Path
from umdlib.segmenters import Segmenter

class Encoding:
    def __init__(self, device):
        self.held = ()
    def foresee(self, image, prompts):
        {fault}
        self.encode([p.structure for p in prompts])
    def encode(self, structures):
        self.held = tuple(structures)
        with open(Path(__file__).with_suffix(".log"), "a") as log:
            log.write(",".join(structures) + "\\n")
    def __call__(self, image, prompt, previous=None):
        if prompt.structure not in self.held:
            self.encode([prompt.structure])
        return image.data > image.data.mean()

ENCODING = Segmenter("encoding_of_test", "E", "E.", Encoding, frozenset({{"click"}}))
"""


def encodings(make_cohort, folder, limits, fault="pass"):
    """What was encoded, a line each, and the score table."""
    file = folder / "encoding_of_test.py"
    folder.mkdir()
    file.write_text(MODULE.format(fault=fault))
    cohort = read_cohort(make_cohort(1, folder / "cohort"))
    name = f"{file}:ENCODING"
    table = evaluation.score_cohort(cohort, name, folder / "run", settings=ONE, limits=limits)
    return file.with_suffix(".log").read_text().split(), table


def test_all_first_prompts_reach_it_at_once(make_cohort, tmp_path):
    here, in_turn = encodings(make_cohort, tmp_path / "here", evaluation.Limits())
    there, isolated = encodings(make_cohort, tmp_path / "there", evaluation.Limits(isolate=True))
    assert here == there == ["ball,rod"] * 2  # one encoding per image
    assert isolated["status"].eq("ok").all() and isolated["dice"].equals(in_turn["dice"])


@pytest.mark.parametrize("fault", ["raise ValueError('no')", "import os; os.abort()"])
def test_where_it_fails_at_what_it_is_told_it_is_asked_one_by_one(make_cohort, tmp_path, fault):
    lines, table = encodings(make_cohort, tmp_path / "a", evaluation.Limits(isolate=True), fault)
    assert lines == ["ball", "rod"] * 2
    assert table["status"].eq("ok").all()


def test_what_it_is_told_takes_of_the_time_of_the_case(make_cohort, tmp_path):
    fault = "self.encode(['told']); import time; time.sleep(99)"
    lines, table = encodings(make_cohort, tmp_path / "a", evaluation.Limits(time_s=0.5), fault)
    assert lines == ["told"] * 2
    assert table["status"].eq("failed").all() and table["reason"].str.contains("took over 0.5 s").any()
