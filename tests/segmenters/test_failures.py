"""What can go wrong inside a segmenter: memory, NaN, small images, prompts it cannot take."""

from __future__ import annotations

import importlib.util
import types

import numpy as np
import pytest
from test_systems import AFFINE, CENTRE, asked, phantom, prompt_for, twin, world

from umdlib import segmenters
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import run as benchmark
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Box, Click, Prompt
from umdlib.segmenters.contract import Segmenter

TWINS = [n for n in segmenters.names() if segmenters.get(n).tiny is not None]


def record_of(segment) -> Segmenter:
    return Segmenter("hungry", "H", "H.", lambda device: segment, frozenset({"click"}))


class Hungry:
    """Runs out of memory until it was relieved often enough."""

    def __init__(self, error, stages):
        self.error, self.stages, self.calls = error, stages, 0

    def __call__(self, image, prompt, previous=None):
        self.calls += 1
        if self.stages > 0:
            raise self.error
        return image.data > 0

    def free_memory(self) -> bool:
        self.stages -= 1
        return self.stages >= 0


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")]
)
def test_memory_that_runs_out_is_tried_again_with_less(error):
    image, _ = phantom()
    segment = Hungry(error, stages=2)
    mask = segmenters.load(record_of(segment))(image, prompt_for(record_of(segment)))
    np.testing.assert_array_equal(mask, image.data > 0)
    assert segment.calls == 3


def test_memory_that_stays_out_is_a_sentence():
    image, _ = phantom()

    def segment(image, prompt, previous=None):
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(InputError, match=r"'hungry' ran out of memory on phantom .*--device cpu"):
        segmenters.load(record_of(segment))(image, prompt_for(record_of(segment)))


def test_other_errors_are_not_called_memory():
    def segment(image, prompt, previous=None):
        raise RuntimeError("shapes differ")

    image, _ = phantom()
    with pytest.raises(RuntimeError, match="shapes differ"):
        segmenters.load(record_of(segment))(image, prompt_for(record_of(segment)))


def test_a_run_goes_on_after_memory_ran_out(tmp_path, make_cohort):
    cohort = read_cohort(make_cohort(1))
    state = {"calls": 0, "hungry": True}

    def segment(image, prompt, previous=None):
        state["calls"] += 1
        if state["hungry"] and image.unit == "SUV":
            raise MemoryError
        return image.data > image.data.mean()

    record = segmenters.register(
        Segmenter("hungry_of_test", "H", "H.", lambda device: segment, frozenset({"click"}))
    )
    settings = benchmark.Settings((benchmark.Plan("centre", (0,), 0),))
    cases = [c for c in cohort.cases if c.session == "petct"]
    scored = {}
    for hungry in (True, False, False):
        state |= {"hungry": hungry, "calls": 0}
        table = benchmark.score_cohort(cohort, record.name, tmp_path / "run", cases=cases, settings=settings)
        scored[len(scored)] = (table.groupby("modality")["status"].first().to_dict(), state["calls"])
    n = len(cohort.structures)
    assert scored[0] == ({"CT": "ok", "PET": "failed"}, 2 * n)
    assert scored[1] == ({"CT": "ok", "PET": "ok"}, n)  # the CT was kept
    assert scored[2] == ({"CT": "ok", "PET": "ok"}, 0)


def inside(value, seen=None) -> list:
    """What hangs on an adapter, its parts and theirs; torch modules, code and arrays as they are."""
    import torch

    seen = {} if seen is None else seen
    if id(value) in seen:
        return []
    seen[id(value)] = value
    if isinstance(value, torch.nn.Module | torch.Tensor | types.ModuleType | types.FunctionType | type):
        return [value]
    inner = value if isinstance(value, list | tuple) else getattr(value, "__dict__", {}).values()
    return [value, *(thing for v in inner for thing in inside(v, seen))]


@pytest.mark.parametrize("name", TWINS)
def test_a_network_that_answers_nan_is_refused(name):
    """Compared with a threshold a NaN is False: it must not become a silent empty mask."""
    torch = pytest.importorskip("torch")
    record = segmenters.get(name)
    if any(importlib.util.find_spec(p) is None for p in record.packages):
        pytest.skip("packages are not installed")
    segment = record.tiny()
    things = inside(segment)
    nets = [t for t in things if isinstance(t, torch.nn.Module)]
    assert nets
    with torch.no_grad():
        for value in (p for net in nets for p in net.parameters()):
            value.fill_(float("nan"))
    for params in (p for t in things for p in getattr(t, "list_of_parameters", [])):
        for value in filter(torch.is_floating_point, params.values()):
            value.fill_(float("nan"))
    image, _ = phantom("HU", half_mm=(12, 14, 6))
    with pytest.raises((InputError, RuntimeError), match=r"(?i)nan|inf"):
        asked(record, segment)(image, prompt_for(record))


@pytest.mark.parametrize("shape", [(5, 4, 3), (3, 30, 1)])
@pytest.mark.parametrize("name", segmenters.names())
def test_an_image_smaller_than_a_patch_is_segmented(name, shape):
    record, segment = twin(name)
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(60, 20, shape).astype(np.float32), AFFINE, "HU", "sliver")
    middle = tuple(n // 2 for n in shape)
    half = (*(min(1, n // 2) for n in shape[:2]), 0)
    mask = segment(image, prompt_for(record, middle, half))
    assert mask.shape == shape and mask.dtype == bool


@pytest.mark.parametrize("name", segmenters.names())
def test_a_prompt_that_a_system_cannot_take_is_refused(name):
    record = segmenters.get(name)
    segment = segmenters.checked(record, lambda *given: pytest.fail("it was called"))
    image, _ = phantom()
    given = {
        "click": Prompt("liver", (Click(world(CENTRE)),)),
        "box": Prompt("liver", box=Box(world((1, 1, 1)), world((3, 3, 3)))),
        "text": Prompt("liver", text="liver"),
    }
    for kind, prompt in given.items():
        if kind in record.prompts or "class" in record.prompts:
            continue
        with pytest.raises(InputError, match=f"'{name}' takes .*; the prompt .* holds {kind}"):
            segment(image, prompt)


def test_a_class_that_a_system_does_not_know_is_refused():
    image, _ = phantom()
    record = segmenters.get("vista3d")
    segment = segmenters.checked(record, lambda *given: pytest.fail("it was called"))
    with pytest.raises(InputError, match=r"structure for 'vista3d'.*'livre'.*Did you mean 'liver'"):
        segment(image, Prompt("livre"))


def test_a_click_that_failed_is_forgotten_by_nninteractive(monkeypatch):
    """The session keeps what a failed call had drawn; the next structure must not see it."""
    nninteractive = pytest.importorskip("umdlib.segmenters.systems.nninteractive")
    pytest.importorskip("nnInteractive")
    data = np.random.default_rng(0).normal(size=(40, 36, 32)).astype(np.float32)
    image = Volume(data, np.diag([2.0, 2, 2, 1]), "HU", "noise")
    first, second = (
        Prompt(n, (Click(xyz),)) for n, xyz in (("liver", (20.0, 20, 20)), ("spleen", (50.0, 40, 40)))
    )
    fresh = nninteractive.tiny()(image, second)
    one = nninteractive.tiny()
    network, calls = type(one._session.network), []
    real = network.forward

    def once(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(network, "forward", once)
    with pytest.raises(Exception, match="out of memory"):
        one(image, first)
    assert np.array_equal(one(image, second), fresh)
