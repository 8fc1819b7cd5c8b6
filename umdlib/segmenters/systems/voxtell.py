"""VoxTell by free text, through its own package's network and loop, with its published bank of text embeddings."""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import pydoc
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from umdlib.errors import InputError
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network
from umdlib.segmenters.preparation.nnunet import tiny_plans
from umdlib.segmenters.preparation.nnunet_folder import without_folders
from umdlib.segmenters.preparation.slices import oriented
from umdlib.weights import reading as weights

FOLDER = "voxtell_v1.1"
CONFIGURATION = "3d_fullres"
# of the package's predictor, which names them nowhere else
SIZES: dict[str, int] = {
    "decoder_layer": 4,
    "text_embedding_dim": 2560,
    "num_maskformer_stages": 5,
    "num_heads": 32,
    "query_dim": 2048,
    "project_to_decoder_hidden_dim": 2048,
}
_TOGETHER = 16  # texts whose logits are held at once, two bytes a voxel each
_NEAREST = 5  # texts that are suggested
_CODE = ("torch.nn.", "dynamic_network_architectures.")  # what plans may name


def _file(name: str, remote: str = "") -> Weights:
    """One of the published files."""
    where = "Hugging Face mrokuss/VoxTell"
    licence = "not stated in the repository (code: Apache-2.0)"
    return Weights(f"{FOLDER}/{name}", where, licence, repo="mrokuss/VoxTell", remote=remote)


PLANS = _file("plans.json")
CHECKPOINT = _file("fold_0/checkpoint_final.pth")
BANK = _file("text_embeddings.npz", f"embeddings/{FOLDER}/text_embeddings.npz")


class VoxTell:
    """The package's predictor, the bank of texts, and the masks of the last image by text."""

    def __init__(self, predictor, bank: Mapping[str, np.ndarray]) -> None:
        self._predictor, self._bank = predictor, bank
        network.guard(predictor.network, "voxtell")
        _share_encoder(predictor.network)
        self._data: np.ndarray | None = None
        self._masks: dict[str, np.ndarray] = {}
        self._together = _TOGETHER

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K) of the prompt's text."""
        text = _text(prompt)
        if text not in self._bank:
            raise InputError(_unknown(text, self._bank))
        self._predict(image, [text])
        packed = self._masks[text]
        return np.unpackbits(packed, count=image.data.size).astype(bool).reshape(image.shape)

    def foresee(self, image: Volume, prompts: Sequence[Prompt]) -> None:
        """Segment the texts of prompts together: each window is encoded once for all of them."""
        self._predict(image, [t for t in map(_text, prompts) if t in self._bank])

    def free_memory(self) -> bool:
        """Keep logits off the device and fewer texts at a time; False with one text already."""
        had_more = self._predictor.perform_everything_on_device or self._together > 1
        self._predictor.perform_everything_on_device = False
        self._together = max(self._together // 4, 1)
        self._masks.clear()
        return had_more

    def _predict(self, image: Volume, texts: Sequence[str]) -> None:
        """Masks of the texts that are not there yet, in the package's own order of axes (RAS, reversed)."""
        if self._data is not image.data:
            self._data, self._masks = image.data, {}
        absent = [t for t in dict.fromkeys(texts) if t not in self._masks]
        if not absent:
            return
        data, _, back = oriented(image.data, image.affine, "RAS")
        array = np.ascontiguousarray(data.T[None], np.float32)
        for first in range(0, len(absent), self._together):
            some = absent[first : first + self._together]
            for text, mask in zip(some, self._asked(array, some), strict=True):
                self._masks[text] = np.packbits(back(mask.T).astype(bool))

    def _asked(self, array: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Masks (texts, K, J, I) of an image; of one without any value, none."""
        import torch

        if not array.any():
            return np.zeros((len(texts), *array.shape[1:]), np.uint8)
        vectors = np.stack([np.asarray(self._bank[t], np.float32) for t in texts])[None]
        given = torch.from_numpy(vectors).to(self._predictor.device)
        with contextlib.redirect_stderr(io.StringIO()):  # a bar
            return self._predictor.predict_single_image(array, text_embeddings=given)


def _text(prompt: Prompt) -> str:
    """The text as the package gives it to its bank: in lower case."""
    return (prompt.text or prompt.structure).lower()


def _unknown(text: str, bank: Mapping[str, np.ndarray]) -> str:
    """Why a text is unknown, with the nearest known one."""
    close = difflib.get_close_matches(text, bank, n=_NEAREST, cutoff=0.4)
    within = [t for t in bank if text in t and t not in close]
    named = ", ".join(f"'{t}'" for t in [*close, *within][:_NEAREST])
    return f"Text '{text}' is not among the {len(bank)} texts whose embeddings VoxTell's bank holds. " + (
        f"Nearest: {named}." if named else "None is near."
    )


def _share_encoder(net) -> None:
    """Let a window's encoding serve all its texts, each decoded alone, so that none moves another's sums."""
    import torch

    whole, encode, last = net.forward, net.encoder.forward, {}

    def once(window):
        if last.get("window") is not window:
            last.update(window=window, skips=encode(window))
        return last["skips"]

    def each(window, texts):
        masks = [whole(window, texts[:, n : n + 1]) for n in range(texts.shape[1])]
        last.clear()
        return torch.cat(masks, dim=1)

    net.encoder.forward, net.forward = once, each


def load(device: str = "cpu") -> Segment:
    """The published network, whose checkpoint is read without running code from it."""
    plans = _plans()
    net = build(plans)
    weights.load_strict(net, CHECKPOINT, "voxtell", inner=("network_weights",))
    bank = read_bank()
    return VoxTell(predictor_of(net, plans, device), bank)


def build(plans: dict, *, model=None, sizes: Mapping[str, int] = SIZES):
    """The network of the plans with random weights; `model` is the package's class by default."""
    if model is None:
        from voxtell.model.voxtell_model import VoxTellModel as model
    found = plans["configurations"][CONFIGURATION]["architecture"]
    given = dict(found["arch_kwargs"])
    for key in found["_kw_requires_import"]:
        if given[key] is not None:
            if not str(given[key]).startswith(_CODE):
                raise InputError(
                    f"Plans of VoxTell name {given[key]}, which is not among {', '.join(_CODE)}."
                )
            given[key] = pydoc.locate(given[key])
    return model(input_channels=1, **given, deep_supervision=False, **sizes)


def predictor_of(net, plans: dict, device: str = "cpu"):
    """The package's predictor around a network; its own constructor would unpickle the checkpoint."""
    import torch

    without_folders()
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization
    from voxtell.inference.predictor import VoxTellPredictor

    made = VoxTellPredictor.__new__(VoxTellPredictor)
    made.device = torch.device(device)
    made.normalization = ZScoreNormalization(intensityproperties={})
    made.tile_step_size = 0.5
    made.perform_everything_on_device = True
    made.embedding_bank = None
    made.patch_size = plans["configurations"][CONFIGURATION]["patch_size"]
    made.network = net.to(device).eval()
    return made


def read_bank() -> dict[str, np.ndarray]:
    """Text, in lower case, to its embedding (2560,) of the published bank.

    Raises
    ------
    InputError
        The file is missing, not the one of its first use, damaged, or no bank of this network's.
    """
    path = weights.verified(BANK, "voxtell")
    try:
        with np.load(path, allow_pickle=False) as data:
            texts, vectors = data["labels"], data["embeddings"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"Bank of texts {path} is damaged or none: {error}.") from None
    wanted = (len(texts), SIZES["text_embedding_dim"])
    if vectors.shape != wanted or vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
        raise InputError(
            f"Bank of texts {path} holds {vectors.dtype} {vectors.shape} for {len(texts)} texts. It must hold finite "
            f"numbers {wanted}."
        )
    return {str(text).lower(): vectors[n] for n, text in enumerate(texts)}


def _plans() -> dict:
    """The published plans."""
    path = weights.verified(PLANS, "voxtell")
    try:
        plans = json.loads(path.read_text("utf-8"))
        plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"File {path} holds no plans of VoxTell: {error!r}.") from None
    return plans


TINY_SIZES = {
    "decoder_layer": 4,
    "text_embedding_dim": 16,
    "num_maskformer_stages": 5,
    "num_heads": 2,
    "query_dim": 32,
    "project_to_decoder_hidden_dim": 16,
}
_TINY_FEATURES = [4, 4, 8, 8, 8, 8]


def tiny_voxtell_plans() -> dict:
    """Plans of six thin stages on patches of 32 voxels."""
    made = tiny_plans()["configurations"]["tiny"]
    made["architecture"]["arch_kwargs"] |= {
        "n_stages": 6,
        "features_per_stage": _TINY_FEATURES,
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * 4, [1, 1, 1]],
        "n_blocks_per_stage": [1] * 6,
        "n_conv_per_stage_decoder": [1] * 5,
    }
    return {"configurations": {CONFIGURATION: made}}


def tiny_model():
    """The package's class with the tiny plans' channels in place of the published network's."""
    from voxtell.model.voxtell_model import VoxTellModel

    class TinyVoxTell(VoxTellModel):
        """Three thin layers fuse text and image."""

        TRANSFORMER_NUM_HEADS = 2
        TRANSFORMER_NUM_LAYERS = 3
        DECODER_CONFIGS = {  # noqa: RUF012 - as the package writes it
            n: {"channels": c, "shape": (max(32 >> n, 2),) * 3} for n, c in enumerate(_TINY_FEATURES)
        }

    return TinyVoxTell


def tiny_bank() -> dict[str, np.ndarray]:
    """Random embeddings of five texts."""
    rng = np.random.default_rng(0)
    texts = ("liver", "spleen", "left kidney", "right kidney", "liver lesion")
    return {t: rng.normal(0, 1, TINY_SIZES["text_embedding_dim"]).astype(np.float16) for t in texts}


def tiny_network():
    """The tiny network with random weights, as the package initialises those of a training."""
    with network.seeded(0):
        return build(tiny_voxtell_plans(), model=tiny_model(), sizes=TINY_SIZES)


def tiny() -> Segment:
    """Six thin stages, patches of 32 voxels, five texts of random embeddings."""
    return VoxTell(predictor_of(tiny_network(), tiny_voxtell_plans()), tiny_bank())


VOXTELL = Segmenter(
    name="voxtell",
    title="VoxTell",
    summary="A residual U-Net whose decoder is steered by the embedding of a free text; texts of its published bank, "
    "so that the text encoder of 4 billion parameters is not needed.",
    load=load,
    prompts=frozenset({"text"}),
    settings={"model": FOLDER, "tile_step": 0.5},
    packages=("voxtell", "nnunetv2", "torch"),
    extra="voxtell",
    weights=(PLANS, CHECKPOINT, BANK),
    modalities=("CT", "MR", "PET"),
    paper="arXiv:2511.11450",
    code_licence="Apache-2.0",
    trained_on="158 public sets of more than 62,000 volumes (CT, MR, PET); the split by modality was not found",
    native="the name of the structure as a text, embedded by Qwen3-Embedding-4B or taken from the published bank",
    grid="192 x 192 x 192 voxels of the file's own spacing in RAS, half over one another; z-scored over the box of "
    "non-zero voxels; not resampled",
    users="left and right are swapped where a file's orientation is wrong; spacings far from 1.5 mm are to be "
    "resampled first (readme)",
    tiny=tiny,
)
