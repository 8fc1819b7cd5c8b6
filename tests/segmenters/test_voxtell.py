"""VoxTell: texts of a bank, each window encoded once for all of them, files read without running code."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from test_systems import AFFINE, phantom

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.systems import voxtell

pytest.importorskip("voxtell")
TEXTS = [Prompt("x", text=t) for t in ("liver", "Left Kidney", "spleen")]


def test_texts_foreseen_give_the_masks_of_texts_asked_alone_and_each_window_is_encoded_once():
    image, _ = phantom("HU")
    alone = [voxtell.tiny()(image, p) for p in TEXTS]
    segment = voxtell.tiny()
    windows = []
    segment._predictor.network.encoder.stages[0].register_forward_hook(lambda *a: windows.append(1))
    segment.foresee(image, [*TEXTS, Prompt("y", text="no such text")])
    encoded = len(windows)
    together = [segment(image, p) for p in TEXTS]
    assert encoded == len(windows) == 2 * 2  # 36 x 40 x 22 voxels in patches of 32, half over one another
    assert (alone[0] != alone[1]).any()
    for a, b in zip(alone, together, strict=True):
        assert 0 < a.sum() < a.size
        np.testing.assert_array_equal(a, b)


def test_less_memory_gives_the_same_masks():
    image, _ = phantom("SUV")
    segment = voxtell.tiny()
    first = segment(image, TEXTS[0])
    assert segment.free_memory()
    segment.foresee(image, TEXTS)
    np.testing.assert_array_equal(segment(image, TEXTS[0]), first)
    assert segment.free_memory()
    assert not segment.free_memory()


def test_a_text_that_is_not_in_the_bank_is_refused_with_the_nearest():
    image, _ = phantom("HU")
    with pytest.raises(InputError, match=r"Text 'livre' is not among the 5 texts .*Nearest: 'liver', "):
        voxtell.tiny()(image, Prompt("x", text="Livre"))
    with pytest.raises(InputError, match=r"'kidney' is not .*'left kidney'.*'right kidney'"):
        voxtell.tiny()(image, Prompt("x", text="kidney"))
    with pytest.raises(InputError, match="None is near"):
        voxtell.tiny()(image, Prompt("x", text="zzz"))


def test_an_image_of_zeros_holds_nothing():
    image = Volume(np.zeros((20, 30, 25), np.float32), AFFINE, "SUV", "zeros")
    assert not voxtell.tiny()(image, TEXTS[0]).any()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A weights folder as published, of the tiny network, and the loader told its sizes."""
    import torch

    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))
    build = voxtell.build
    tiny = {"model": voxtell.tiny_model(), "sizes": voxtell.TINY_SIZES}
    monkeypatch.setattr(voxtell, "build", lambda plans, **given: build(plans, **tiny | given))
    monkeypatch.setitem(voxtell.SIZES, "text_embedding_dim", voxtell.TINY_SIZES["text_embedding_dim"])
    folder = tmp_path / voxtell.FOLDER
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(voxtell.tiny_voxtell_plans()))
    with voxtell.network.seeded(0):
        net = build(voxtell.tiny_voxtell_plans(), **tiny)
    state = {"network_weights": net.state_dict(), "logging": {"loss": np.float64(0.5)}}
    torch.save(state, folder / "fold_0" / "checkpoint_final.pth")
    bank = voxtell.tiny_bank()
    labels = np.array([t.upper() for t in bank])
    np.savez(folder / "text_embeddings.npz", labels=labels, embeddings=np.stack(list(bank.values())))
    return folder


def test_the_published_folder_is_loaded(published):
    image, _ = phantom("HU")
    np.testing.assert_array_equal(voxtell.load()(image, TEXTS[0]), voxtell.tiny()(image, TEXTS[0]))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/never",)


def test_no_file_runs_code(published):
    import torch

    np.savez(published / "text_embeddings.npz", labels=np.array([Evil()]), embeddings=np.zeros((1, 16)))
    with pytest.raises(InputError, match="is damaged or none"):
        voxtell.read_bank()
    torch.save({"network_weights": Evil()}, published / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(InputError, match="would run code"):
        voxtell.load()
    plans = voxtell.tiny_voxtell_plans()
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["arch_kwargs"]["nonlin"] = "os.mkdir"
    with pytest.raises(InputError, match="name os.mkdir, which is not among"):
        voxtell.build(plans)


@pytest.mark.parametrize(
    "vectors", [np.zeros((5, 15), np.float16), np.full((5, 16), np.nan, np.float16), np.zeros((4, 16))]
)
def test_a_bank_of_another_network_is_refused(published, vectors):
    np.savez(published / "text_embeddings.npz", labels=np.array(list("abcde")), embeddings=vectors)
    with pytest.raises(InputError, match=r"holds float.* for 5 texts. It must hold finite numbers \(5, 16\)"):
        voxtell.read_bank()


def test_plans_that_are_none_are_refused(published):
    (published / "plans.json").write_text("{}")
    with pytest.raises(InputError, match="holds no plans of VoxTell"):
        voxtell.load()
