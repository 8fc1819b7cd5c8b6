"""The click loop: each structure with all its corrections, clicks as the masks themselves give them."""

import gc

import numpy as np
import pytest

from umdlib import prompts
from umdlib.evaluation.ask import Task, ask, targets_of
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.prompts.prompt import Prompt

BALL, ROD = (Structure(v, n, n, n[:2], "#000000") for v, n in ((1, "ball"), (4, "rod")))
AFFINE = np.diag([1.5, 1.0, 2.0, 1.0])


def scene(order="F"):
    """An image and its reference: a ball and a rod."""
    i, j, k = np.meshgrid(*map(np.arange, (70, 40, 30)), indexing="ij")
    data = np.zeros(i.shape, np.uint8, order)
    data[(i - 20) ** 2 + (j - 20) ** 2 + (k - 15) ** 2 < 81] = 1
    data[((i - 50) ** 2 + (j - 20) ** 2 < 25) & (abs(k - 15) < 12)] = 4
    return Volume(data.astype(np.float32, order="K"), AFFINE), LabelMap(data, AFFINE)


class Growing:
    """Answers with a ball around each click, larger by the step; says in which order it was asked."""

    def __init__(self, order="F"):
        self.asked, self.order, self.given = [], order, []

    def __call__(self, image, prompt, previous=None):
        self.asked.append((prompt.structure, prompt.step))
        self.given.append(previous)
        mask = np.zeros(image.shape, bool) if previous is None else previous.copy()
        grid = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1) * [1.5, 1.0, 2.0]
        near = ((grid - prompt.clicks[-1].xyz_mm) ** 2).sum(-1) < (5 + 2 * prompt.step) ** 2
        mask[near] = prompt.clicks[-1].positive
        return np.asarray(mask, order=self.order)


def task(image, reference, protocol="centre", steps=3):
    first = prompts.pair_prompts({"CT": reference}, (BALL, ROD), protocol=protocol)
    return Task(image, reference, targets_of(reference, (BALL, ROD)), (BALL, ROD), first, steps, protocol, 0)


@pytest.mark.parametrize("orders", ["FF", "FC", "CC", "CF"])
@pytest.mark.parametrize("protocol", ["centre", "official_random", "ritm"])
def test_clicks_and_masks_are_those_of_a_loop_over_whole_masks(orders, protocol):
    image, reference = scene(orders[0])
    given, segment = task(image, reference, protocol), Growing(orders[1])
    found = ask(given, segment)
    rng, plain = np.random.default_rng([0, 1]), Growing()
    answers = {s.name: (given.first[s.name], plain(image, given.first[s.name])) for s in (BALL, ROD)}
    for step, row in enumerate(found):
        for s, answer in zip((BALL, ROD), row, strict=True):
            if step:
                prompt, mask = answers[s.name]
                click = prompts.corrective_click(
                    reference.data == s.value, mask, AFFINE, protocol=protocol, rng=rng
                )
                prompt = prompt.with_click(click)
                answers[s.name] = prompt, plain(image, prompt, mask)
            assert answer.prompt == answers[s.name][0]
            assert np.array_equal(answer.mask.mask(), answers[s.name][1])


def test_a_structure_is_asked_with_all_its_corrections_before_the_next():
    segment = Growing()
    ask(task(*scene()), segment)
    assert segment.asked == [("ball", n) for n in range(4)] + [("rod", n) for n in range(4)]


def test_drawn_corrections_come_from_one_generator_step_by_step():
    segment = Growing()
    ask(task(*scene(), protocol="official_random"), segment)
    assert segment.asked == [(name, n) for n in range(4) for name in ("ball", "rod")]
    assert all(previous is not None for previous in segment.given[2:])


class Encoding:
    """Encodes a crop around the first click where the last call was about another one."""

    def __init__(self):
        self.encoded, self.last = 0, None

    def __call__(self, image, prompt, previous=None):
        if self.last != prompt.clicks[0]:
            self.encoded, self.last = self.encoded + 1, prompt.clicks[0]
        return np.zeros(image.shape, bool, "F")


def test_each_crop_is_encoded_once_whatever_the_number_of_clicks():
    segment = Encoding()
    ask(task(*scene(), steps=4), segment)
    assert segment.encoded == 2


def test_a_segmenter_that_can_foresee_is_told_all_first_prompts_once():
    class Foreseeing(Encoding):
        told = ()

        def foresee(self, image, prompts_):
            self.told += (tuple(p.structure for p in prompts_),)
            raise ZeroDivisionError("left to the calls")

    image, reference = scene()
    given, segment = task(image, reference), Foreseeing()
    assert not any(a.fault for row in ask(given, segment) for a in row)
    assert segment.told == (("ball", "rod"),)
    first = {**given.first, "ball": Prompt("ball", note=prompts.REFERENCE_EMPTY)}
    ask(Task(**{**vars(given), "first": first}), segment)
    ask(Task(**{**vars(given), "known": ("rod",)}), segment)
    assert segment.told[1:] == (("rod",), ("rod",))


def test_a_fault_ends_the_corrections_of_its_structure_alone():
    def segment(image, prompt, previous=None):
        if prompt.structure == "ball" and prompt.step == 1:
            raise ZeroDivisionError("no")
        return np.zeros(image.shape, bool)

    found = ask(task(*scene(), steps=2), segment)
    assert [row[0].fault for row in found] == ["", "ZeroDivisionError: no", "ZeroDivisionError: no"]
    assert [row[1].fault for row in found] == ["", "", ""]


def test_what_is_not_known_and_what_is_absent_is_not_asked():
    image, reference = scene()
    segment = Growing()
    given = task(image, reference)
    known = Task(**{**vars(given), "known": ("rod",)})
    assert {a.fault for row in ask(known, segment) for a in row[:1]} == {
        "not asked: the segmenter does not know the structure"
    }
    first = {**given.first, "ball": Prompt("ball", note=prompts.REFERENCE_EMPTY)}
    segment.asked.clear()
    ask(Task(**{**vars(given), "first": first}), segment)
    assert {name for name, _ in segment.asked} == {"rod"}


def test_memory_of_the_harness_is_not_the_segmenters():
    # Large amounts: the kernel counts a process's pages per processor and adds them up late, tens of MB on many.
    gc.collect()  # what is freed during the call would count against it
    held = [np.ones(300_000_000, np.uint8)]  # 300 MB that the segmenter did not take

    def segment(image, prompt, previous=None):
        taken = np.ones(400_000_000, np.uint8)
        return np.zeros(image.shape, bool) if taken[-1] and held else None

    rows = ask(task(*scene(), steps=0), segment)
    peaks = [a.peak_mb for a in rows[0]]
    if np.isnan(peaks).any():
        pytest.skip("this system does not say what memory a process had at most")
    assert all(250 < peak < 550 for peak in peaks), peaks
