"""What a record must say of itself, and each sentence about one that cannot be used."""

import sys

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Box, Click, Prompt
from umdlib.segmenters import calls, registry
from umdlib.segmenters.contract import Segmenter
from umdlib.weights.record import Weights


def record(name="mine", prompts=frozenset({"click"}), **more) -> Segmenter:
    return Segmenter(name, "Mine", "Mine.", lambda device: None, prompts, **more)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (record("threshold"), "Segmenter 'threshold' is built in. Give yours another name."),
        (
            record("my system"),
            "Invalid segmenter name 'my system'. Letters, digits, '_', '-' and '.'; it begins with a letter or digit.",
        ),
        (record("../x"), "Invalid segmenter name '../x'."),
        (
            record(prompts=frozenset()),
            "Segmenter 'mine' takes no prompt. Give a set of one or more of click, ",
        ),
        (record(prompts="click"), "Segmenter 'mine' takes no prompt."),
        (
            record(prompts={"clik"}),
            "Unknown kind of prompt of segmenter 'mine' 'clik'. Did you mean 'click'?",
        ),
        (
            record(partner="PET"),
            "Invalid partner 'PET' of segmenter 'mine'. Write it as a tuple: partner=('PET',).",
        ),
        (record(partner=("PT",)), "Unknown partner of segmenter 'mine' 'PT'. Did you mean 'PET'?"),
    ],
)
def test_a_record_that_cannot_be_asked_is_refused(made, sentence):
    with pytest.raises(InputError) as error:
        registry.register(made)
    assert str(error.value).startswith(sentence)
    assert made.name == "threshold" or made.name not in registry.names()


def test_a_registered_record_is_found_by_its_name_after_the_built_in_ones(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(record(prompts={"click", "box"}))
    assert registry.names()[-1] == "mine" and registry.names()[0] == "threshold"
    assert registry.get("mine").prompts == frozenset({"click", "box"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Unknown segmenter record in '{file}' 'MINE'. Known: none."),
        ("MINE = 1\n", "Unknown segmenter record in '{file}' 'MINE'. Known: none."),
        (
            "import nothing_of_this_name\n",
            "Cannot import '{file}' for a segmenter: ModuleNotFoundError: No module named ",
        ),
        ("x = 1\ny = 1 / 0\n", "division by zero (mine.py, line 2)."),
        ("def f(:\n", "SyntaxError"),
    ],
)
def test_a_file_without_the_record_says_what_is_wrong_and_where(tmp_path, monkeypatch, text, sentence):
    monkeypatch.delitem(sys.modules, "umdlib_user_mine", raising=False)
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        registry.get(f"{file}:MINE")
    assert sentence.format(file=file) in str(error.value)
    with pytest.raises(InputError, match=r"absent.py does not exist. It should hold a segmenter's record\."):
        registry.get(f"{tmp_path / 'absent.py'}:MINE")
    with pytest.raises(InputError, match="Cannot import 'no_such_module_here:MINE' for a segmenter"):
        registry.get("no_such_module_here:MINE")


IMAGE = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4), "HU", "ct")
PET = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4), "SUV", "pet")
AWAY = Volume(
    np.zeros((4, 4, 4), np.float32),
    np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 90], [0, 0, 0, 1.0]]),
    "SUV",
    "away",
)
BOX = Box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("made", "prompt", "sentence"),
    [
        (
            record(prompts={"slice_box"}),
            Prompt("liver", (Click((0, 0, 0), True),), BOX),
            "Segmenter 'mine' takes slice box; the prompt for 'liver' holds box or click.",
        ),
        (record(), Prompt("liver"), "Segmenter 'mine' takes click; the prompt for 'liver' holds nothing."),
        (
            record(),
            Prompt("liver", (Click((0, 0, 0), True), Click((1, 0, 0), False))),
            "Segmenter 'mine' takes no negative clicks.",
        ),
        (
            record(prompts={"class"}, structures=("liver", "spleen")),
            Prompt("livre"),
            "Unknown structure for 'mine' 'livre'. Did you mean 'liver'? Known: liver, spleen.",
        ),
    ],
)
def test_a_prompt_that_a_system_cannot_use_is_refused_in_its_words(made, prompt, sentence):
    with pytest.raises(InputError) as error:
        calls.check_prompt(made, prompt)
    assert str(error.value) == sentence


BOTH = record(partner=("CT", "PET"), modalities=("CT", "PET"))


@pytest.mark.parametrize(
    ("made", "image", "partner", "sentence"),
    [
        (record(), IMAGE, PET, "Segmenter 'mine' sees one image, so ct goes without partner pet."),
        (BOTH, IMAGE, None, "Segmenter 'mine' sees two images. ct (CT) needs PET as partner."),
        (BOTH, PET, None, "Segmenter 'mine' sees two images. pet (PET) needs CT as partner."),
        (BOTH, IMAGE, IMAGE, "Partner ct is CT; segmenter 'mine' wants PET beside ct (CT)."),
        (
            record(partner=("MR", "PET"), modalities=("MR", "PET")),
            IMAGE,
            PET,
            "Segmenter 'mine' takes MR or PET; ct is CT.",
        ),
        (
            BOTH,
            IMAGE,
            AWAY,
            "Partner away does not meet ct: their fields lie 86 mm apart towards head or feet. A partner is the other "
            "image of the examination, in the image's own frame.",
        ),
    ],
)
def test_a_partner_is_the_other_image_of_the_examination_or_none(made, image, partner, sentence):
    with pytest.raises(InputError) as error:
        calls.check_partner(made, image, partner)
    assert str(error.value) == sentence
    assert (
        calls.check_partner(record(), IMAGE, None) is None and calls.check_partner(BOTH, PET, IMAGE) is None
    )


def test_what_a_system_lacks_is_one_sentence_each(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))
    item = Weights("net.pth", "the authors' page", "MIT", size=3)
    lacking = record(packages=("no_such_package_here",), extra="models", weights=(item,))
    assert calls.availability(lacking, "cuda:x").reason == (
        f"Needs no_such_package_here (pip install 'umdlib[models]'). Weights net.pth are not in {tmp_path}: "
        "'umdlib weights fetch mine' or by hand from the authors' page."
    )
    (tmp_path / "net.pth").write_bytes(b"12345")
    path = tmp_path / "net.pth"
    assert (
        calls.availability(record(weights=(item,))).reason
        == f"Weights {path} hold 5 bytes, not 3: truncated?"
    )
    path.write_bytes(b"123")
    assert calls.availability(record(weights=(item,))) == (True, "ready")
    assert calls.availability(record(), "cud").reason == "Unknown device 'cud'. Known: cpu, cuda, cuda:N."


def test_a_system_with_networks_of_their_own_says_for_which_images(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))
    pairs = (("petct", "CT"), ("petmr", "MR"))
    files = tuple(Weights(f"{s}.pth", "here", "MIT", condition=(s, m)) for s, m in pairs)
    several = record(conditions=pairs, weights=files)
    assert calls.untrained(several, None) == "It has weights for CT of petct, MR of petmr; say which."
    assert calls.untrained(several, ("petct", "PET")) == (
        "Not trained for PET of petct; it has weights for CT of petct, MR of petmr."
    )
    (tmp_path / "petct.pth").write_bytes(b"1")
    assert calls.availability(several).ok  # one whose files are all here is enough
    assert calls.untrained(several, ("petct", "CT")) is None
    assert calls.untrained(several, ("petmr", "MR")).startswith("Weights petmr.pth are not in ")
