"""SAM-Med3D-turbo and SegAnyPET: one 3D SAM, prompted by points in a cube of 192 mm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from umdlib.errors import InputError
from umdlib.images.grids import Grid, torchio_ras
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network, torchio_grids, windows
from umdlib.weights import reading as weights

SPACING_MM = 1.5
SIZE = 128
KEEP = 64  # cubes and answers kept of an image, under 1 MB each
BATCH = 16  # cubes encoded together on a GPU


class SamMed3D:
    """The network with the cubes that it has encoded of the last image, and what it answered in them.

    A cube lies around the first click, or where the protocol discloses; see
    `umdlib.segmenters.preparation.windows.predicted` for the further ones. `batch` cubes are encoded
    together where the prompts are foreseen; by default one on a CPU, which gains nothing by more.
    """

    def __init__(self, net, device: str, *, name: str, size: int = SIZE, batch: int | None = None) -> None:
        self._net = net.to(device).eval()
        self._device, self._name, self._size = device, name, size
        self._batch = batch or (1 if device == "cpu" else BATCH)
        self._data: np.ndarray | None = None
        self._even: np.ndarray | None = None
        self._next: tuple[np.ndarray, np.ndarray] | None = None  # data and resampled data of an image to come
        self._cubes: OrderedDict[windows.IJK, object] = OrderedDict()
        self._rounds: OrderedDict[tuple, object] = OrderedDict()

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K); empty outside the cubes."""
        self._begin(image)
        grid, asked = torchio_ras(image, SPACING_MM), []

        def answer(start: windows.IJK, clicks: windows.Clicks) -> np.ndarray:
            asked.append(start)
            try:
                embedding = self._encoded(image, grid, start)
            except InputError:
                if len(asked) == 1:
                    raise
                return np.zeros((self._size,) * 3, bool)  # a further cube of air
            return self._decoded(embedding, start, clicks, image.name)

        found = windows.predicted(image, grid, prompt, self._size, answer)
        return torchio_grids.restored(found.mask, found.grid(grid), image)

    def foresee(self, image: Volume, prompts: Sequence[Prompt]) -> None:
        """Encode the first cubes of prompts together, as many as are kept."""
        self._begin(image)
        grid, ahead = torchio_ras(image, SPACING_MM), {}
        for prompt in prompts if self._batch > 1 else ():
            with suppress(InputError):  # the call for this prompt says what is wrong with it
                ahead |= dict.fromkeys(windows.first_cubes(image, grid, prompt, self._size))
        patches = {}
        for start in [s for s in ahead if s not in self._cubes][:KEEP]:
            with suppress(InputError):
                patches[start] = self._patch(image, grid, start)
        starts = list(patches)
        for first in range(0, len(starts), self._batch):
            part = starts[first : first + self._batch]
            codes = self._encode(np.stack([patches[s] for s in part]))
            self._cubes.update((s, codes[n : n + 1]) for n, s in enumerate(part))

    def prepare(self, image: Volume) -> None:
        """Resample the image that comes next."""
        self._next = image.data, torchio_grids.resampled(image, torchio_ras(image, SPACING_MM))

    def free_memory(self) -> bool:
        """Forget the encoded cubes and encode one at a time from now on; False where that changes nothing."""
        had_more = bool(self._cubes) or self._batch > 1
        self._forget()
        self._batch = 1
        return had_more

    def _begin(self, image: Volume) -> None:
        """Forget the last image where another one comes."""
        if self._data is not image.data:
            self._forget()
            self._data = image.data

    def _forget(self) -> None:
        """Let go of an image."""
        self._cubes.clear()
        self._rounds.clear()
        self._data = self._even = None

    def _encoded(self, image: Volume, grid: Grid, start: windows.IJK):
        """Embedding of a cube, kept for the next click and for structures that share it."""
        if start not in self._cubes:
            self._cubes[start] = self._encode(self._patch(image, grid, start)[None])
        return _kept(self._cubes, start)

    def _patch(self, image: Volume, grid: Grid, start: windows.IJK) -> np.ndarray:
        """(N, N, N) float32: a cube, standardised."""
        if self._even is None:
            ready = self._next
            if ready is not None and ready[0] is image.data:
                self._even, self._next = ready[1], None
            else:
                self._even = torchio_grids.resampled(image, grid)
        return standardised(torchio_grids.cut(self._even, start, self._size), image.name)

    def _encode(self, patches: np.ndarray):
        """Embeddings of cubes (n, N, N, N)."""
        import torch

        with torch.inference_mode():
            return self._net.image_encoder(torch.from_numpy(patches)[:, None].to(self._device))

    def _decoded(self, embedding, start: windows.IJK, clicks: windows.Clicks, image: str) -> np.ndarray:
        """(N, N, N) boolean mask after all clicks, each round fed the last one's logits."""
        import torch

        side, size = self._size // 4, (self._size,) * 3
        points, labels = [list(ijk) for ijk, _ in clicks], [int(sign) for _, sign in clicks]
        done = max((n for n in range(1, len(clicks) + 1) if (start, *clicks[:n]) in self._rounds), default=0)
        with torch.inference_mode():
            if done:
                logits = _kept(self._rounds, (start, *clicks[:done]))
            else:
                logits = torch.zeros(1, 1, side, side, side, device=self._device)
            for count in range(done + 1, len(points) + 1):
                given = torch.tensor([points[:count]], dtype=torch.float, device=self._device)
                signs = torch.tensor([labels[:count]], dtype=torch.float, device=self._device)
                sparse, dense = self._net.prompt_encoder(points=[given, signs], boxes=None, masks=logits)
                logits, _ = self._net.mask_decoder(
                    image_embeddings=embedding,
                    image_pe=self._net.prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=False,
                )
            network.finite(logits, self._name, image)
            self._rounds[start, *clicks] = logits
            _kept(self._rounds, (start, *clicks))
            full = torch.nn.functional.interpolate(logits, size=size, mode="trilinear", align_corners=False)
            return network.numpy_mask(torch.sigmoid(full)[0, 0] > 0.5)


def _kept(memory: OrderedDict, key):
    """A remembered value, now the newest; the oldest beyond `KEEP` are forgotten."""
    memory.move_to_end(key)
    while len(memory) > KEEP:
        memory.popitem(last=False)
    return memory[key]


def standardised(patch: np.ndarray, image: str) -> np.ndarray:
    """Minus the mean, over the standard deviation, of the voxels above 0 (CT: above 0 HU).

    Raises
    ------
    InputError
        Fewer than two voxels are above 0, or all of them are equal.
    """
    import torch

    tensor = torch.from_numpy(patch)
    values = tensor[tensor > 0]
    if values.numel() < 2 or not float(values.std()) > 0:
        raise InputError(f"The cube of {image} holds no varying intensity above 0.")
    return ((tensor - values.mean()) / values.std()).numpy()


def build(**settings):
    """The network with random weights; `settings` make it smaller."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=SyntaxWarning, module="medim")
        from medim.models.sam_med3d import build_sam3D_vit_b_ori
    return build_sam3D_vit_b_ori(pretrained=False, **settings)


TINY = {
    "encoder_embed_dim": 48,
    "encoder_depth": 2,
    "encoder_num_heads": 2,
    "encoder_global_attn_indexes": [0, 1],
    "prompt_embed_dim": 96,
    "image_size": 64,
}


def tiny() -> Segment:
    """A network of 1.7 M random parameters on a cube of 64 voxels."""
    with network.seeded(0):
        return SamMed3D(build(**TINY), "cpu", name="tiny SAM-Med3D", size=64)


def _load(device: str = "cpu", *, name: str, item: Weights) -> Segment:
    """One of the published files."""
    net = build()
    weights.load_strict(net, item, name, inner=("model_state_dict",))
    return SamMed3D(net, device, name=name)


_COMMON = {
    "version": "2",
    "prompts": frozenset({"click", "negative_click"}),
    "settings": {"spacing_mm": SPACING_MM, "size": SIZE, "crop": "first click, or as the protocol says"},
    "packages": ("medim", "torch", "torchio"),
    "extra": "sam_med3d",
    "native": "protocol official_crop_192mm: a cube around the reference's box, random voxels of the "
    "reference, then of the error, in it. The official script also lets later labels overwrite earlier ones, "
    "which is not repeated here",
    "reach": partial(windows.reach, spacing_mm=SPACING_MM, size=SIZE),
    "grid": "128 x 128 x 128 voxels of 1.5 mm, RAS, intensities above 0 standardised per cube",
    "tiny": tiny,
}
TURBO_FILE = Weights(
    file="sam_med3d_turbo.pth",
    where="Hugging Face blueyo0/SAM-Med3D",
    licence="Apache-2.0",
    sha256="899a46d04d3b70f723282ceb489149373558bf0aaba389a346f5ab57da5cdd3c",
    repo="blueyo0/SAM-Med3D",
)
SAM_MED3D = Segmenter(
    name="sam_med3d_turbo",
    title="SAM-Med3D-turbo",
    summary="A 3D SAM (100.5 M parameters) that takes clicks in a cube of 192 mm.",
    load=partial(_load, name="sam_med3d_turbo", item=TURBO_FILE),
    weights=(TURBO_FILE,),
    modalities=("CT", "MR"),
    paper="arXiv:2310.15161",
    code_licence="Apache-2.0",
    trained_on="21,729 images, 143,518 masks of 70 public and 24 private sets (CT, MR, "
    "ultrasound in validation), then 44 of the sets; no PET set is listed; the split by modality "
    "is not published",
    users="straight cut edges where an organ exceeds the cube (uni-medical/SAM-Med3D#123, #13); "
    "no box prompts (#71); rough edges at 1.5 mm (#119)",
    **_COMMON,
)


def _seganypet(name: str, title: str, file: str, trained_on: str, paper: str) -> Segmenter:
    """Record of one of SegAnyPET's three files."""
    item = Weights(
        file=file,
        where="Hugging Face YichiZhang98/SegAnyPET",
        repo="YichiZhang98/SegAnyPET",
        licence="not stated in the repository",
    )
    return Segmenter(
        name=name,
        title=title,
        summary="SAM-Med3D's network trained on whole-body PET.",
        load=partial(_load, name=name, item=item),
        weights=(item,),
        modalities=("PET",),
        paper=paper,
        code_licence="none in the repository",
        trained_on=trained_on,
        users="three files; the paper's results are those of v2",
        **_COMMON,
    )


SEGANYPET_V1 = _seganypet(
    "seganypet_v1", "SegAnyPET v1", "seganypet_v1.pth", "more than 5,000 PET scans", "arXiv:2502.14351"
)
SEGANYPET_V2 = _seganypet(
    "seganypet_v2",
    "SegAnyPET v2",
    "seganypet_v2.pth",
    "11,041 whole-body PET scans: liver, kidneys, heart, spleen, tumours",
    "arXiv:2603.11627",
)
SEGANYPET_LESION = _seganypet(
    "seganypet_lesion",
    "SegAnyPET-Lesion",
    "seganypet_lesion.pth",
    "as v2, then 200 epochs on AutoPET tumours",
    "arXiv:2603.11627",
)
