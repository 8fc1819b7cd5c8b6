"""The image that comes next is read and prepared by a thread; scores are those of a run that reads in turn."""

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from umdlib import segmenters
from umdlib.cohort.manifest import Case, read_cohort
from umdlib.evaluation import run as evaluation
from umdlib.evaluation.isolation import Limits
from umdlib.evaluation.plans import Plan, Settings
from umdlib.segmenters.contract import Segmenter

ONE = Settings((Plan("centre", (0,), 1),))


class Waiting:
    """Answers when the next image has been read and prepared, or at once where there is none."""

    def __init__(self, events, total):
        self.events, self.left = events, total

    def __call__(self, image, prompt, previous=None):
        if image.data is not getattr(self, "last", None):
            self.last, self.left = image.data, self.left - 1
            if self.left:
                assert self.prepared.acquire(timeout=300)
            self.events.append(("asked", image.name))
        return image.data > np.median(image.data)

    prepared = threading.Semaphore(0)

    def prepare(self, image):
        self.events.append(("prepared", image.name))
        self.prepared.release()


@pytest.fixture
def events(monkeypatch):
    found, read = [], Case.read_image

    def noted(self):
        found.append(("read", threading.current_thread() is threading.main_thread()))
        return read(self)

    monkeypatch.setattr(Case, "read_image", noted)
    return found


def test_each_image_is_read_while_the_one_before_is_asked(make_cohort, events, tmp_path):
    cohort = read_cohort(make_cohort(2))

    def scored(folder, limits):
        segment = Waiting(events, 4)
        segment.prepared = threading.Semaphore(0 if limits.ahead else 9)
        record = Segmenter(
            "waiting", "W", "for tests", lambda d: segment, frozenset({"click", "negative_click"})
        )
        segmenters.register(record)
        table = evaluation.score_cohort(cohort, "waiting", tmp_path / folder, settings=ONE, limits=limits)
        return table.drop(columns=["seconds", "peak_mb"])

    ahead = scored("ahead", Limits(ahead=True))
    names = [n for kind, n in events if kind == "asked"]
    assert [by_main for kind, by_main in events if kind == "read"] == [True, False, False, False]
    assert [n for kind, n in events if kind == "prepared"] == names[1:]
    # never two ahead: what is prepared is the image after the one that is asked next
    order = [e for e in events if e[0] != "read"]
    assert [kind for kind, _ in order] == ["prepared", "asked"] * 3 + ["asked"]
    events.clear()
    in_turn = scored("turn", Limits())
    assert {e for e in events if e[0] == "read"} == {("read", True)}
    pd.testing.assert_frame_equal(ahead, in_turn)


def test_what_is_done_is_not_read_ahead_and_a_broken_image_is_a_row(make_cohort, events, tmp_path):
    cohort = read_cohort(make_cohort(2))
    cohort.cases[1].image.write_bytes(b"no image")
    segment = Waiting(events, 0)
    segment.prepared = threading.Semaphore(99)
    record = Segmenter("waiting", "W", "for tests", lambda d: segment, frozenset({"click"}))
    segmenters.register(record)
    limits = Limits(ahead=True)
    table = evaluation.score_cohort(cohort, "waiting", tmp_path, settings=ONE, limits=limits)
    failed = table.groupby(["subject", "modality"], sort=False)["status"].agg(lambda s: set(s) == {"failed"})
    assert failed.tolist() == [False, True, False, False]
    events.clear()
    evaluation.score_cohort(cohort, "waiting", tmp_path, settings=ONE, limits=replace(limits, retry=True))
    assert all(by_main for kind, by_main in events if kind == "read")
