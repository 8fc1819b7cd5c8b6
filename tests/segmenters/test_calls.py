"""A segmenter is opened once: its record, its identity, why it cannot segment an image, its call."""

from dataclasses import replace

import numpy as np
import pytest

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.segmenters.contract import Segmenter


def record(**more):
    loaded = []

    def load(device, condition=None):
        loaded.append(condition)
        return lambda image, prompt, previous=None: np.zeros(image.shape, bool)

    return Segmenter("opened", "O", "O.", load, frozenset({"click"}), **more), loaded


def test_nothing_is_loaded_before_the_first_call_and_then_once_a_condition():
    one, loaded = record()
    opened = segmenters.open(one)
    assert not loaded and opened.why_not(("petct", "CT")) is None
    assert opened.call(("petct", "CT")) is opened.call(("petct", "PET"))
    assert loaded == [None]
    several, loaded = record(conditions=(("petct", "CT"), ("petct", "PET")))
    opened = segmenters.open(several)
    assert opened.call(("petct", "CT")) is not opened.call(("petct", "PET"))
    assert loaded == [("petct", "CT"), ("petct", "PET")]
    assert "Not trained for MR of petmr" in opened.why_not(("petmr", "MR"))
    with pytest.raises(InputError, match="Not trained for MR"):
        opened.call(("petmr", "MR"))
    opened.close()
    opened.call(("petct", "CT"))
    assert len(loaded) == 3


def test_what_is_missing_is_said_for_every_image():
    opened = segmenters.open(record(packages=("no_such_package_here",))[0])
    assert isinstance(opened, segmenters.Unavailable)
    assert "no_such_package_here" in opened.why_not(("petct", "CT"))


def test_a_device_that_is_none_is_refused_before_the_record_is_looked_at():
    with pytest.raises(InputError, match="Unknown device 'cuda:abc'"):
        segmenters.open("threshold", "cuda:abc")


def test_the_identity_holds_version_settings_and_code():
    one, _ = record()
    first = segmenters.identity_of(one)
    assert len(first["source"]) == 64
    assert segmenters.identity_of(replace(one, version="9")) != first
    assert segmenters.identity_of(replace(one, settings={"a": 1})) != first
    assert segmenters.identity_of(segmenters.get("threshold"))["source"] != first["source"]
    both = [segmenters.identity_of(segmenters.get(f"clicknet_{n}"))["source"] for n in ("pet", "both")]
    assert both[0] == both[1]


def test_functions_that_a_load_was_made_with_belong_to_its_code(tmp_path):
    (tmp_path / "inner.py").write_text("def segment(image): return image\n")
    (tmp_path / "outer.py").write_text(
        "def loader(call):\n    def load(device): return call\n    return load\n"
    )
    import importlib.util

    modules = {}
    for name in ("inner", "outer"):
        spec = importlib.util.spec_from_file_location(f"of_test_{name}", tmp_path / f"{name}.py")
        modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    load = modules["outer"].loader(modules["inner"].segment)
    one = replace(record()[0], load=load)
    before = segmenters.identity_of(one)["source"]
    (tmp_path / "inner.py").write_text("def segment(image): return None\n")
    assert segmenters.identity_of(one)["source"] != before
