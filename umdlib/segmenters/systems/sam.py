"""SAM and MedSAM on axial slices: one architecture, two ways to prepare a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from umdlib.images import geometry
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network, slices
from umdlib.weights import reading as files

SIDE = 1024
KEEP = 512  # encoded slices kept in memory, 4 MB each: a whole body's; more lie on disk
_BATCH = 8  # slices encoded together on a GPU


class SliceSam:
    """A SAM with the slices it has encoded of the last image."""

    def __init__(self, net, device: str, *, name: str, medical: bool, batch: int | None = None) -> None:
        self._net = net.to(device).eval()
        self._device, self._name, self._medical = device, name, medical
        batch = batch or (1 if device == "cpu" else _BATCH)
        self._memory = slices.Memory(self._encode, keep=KEEP, batch=batch)

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K), slice by slice."""
        stack = self._memory.stack(image)
        parts = _parts(image, prompt, stack)
        codes = self._memory.each(z for z, _, _ in parts)
        return slices.paint(
            stack,
            (
                (z, self._decode(code, points, box, image.name))
                for (z, points, box), (_, code) in zip(parts, codes, strict=True)
            ),
        )

    def foresee(self, image: Volume, prompts: Sequence[Prompt]) -> None:
        """Encode together the slices that prompts name; those that a grown region has are not known yet."""
        stack = self._memory.stack(image)
        named = (p for p in prompts if p.box is not None or p.boxes or p.first_clicks)
        self._memory.foresee(sorted({z for p in named for z, _, _ in _parts(image, p, stack)}))

    def free_memory(self) -> bool:
        """Keep one encoded slice at a time; False where that is so already."""
        return self._memory.free_memory()

    def _encode(self, pictures: list[np.ndarray]) -> list[slices.Encoded]:
        """Image embeddings of slices."""
        import torch

        make = _medical_input if self._medical else _natural_input
        tensors, inner = zip(*(make(p, self._net.image_encoder.img_size) for p in pictures), strict=True)
        with torch.inference_mode():
            codes = self._net.image_encoder(torch.cat(tensors).to(self._device))
        return [slices.Encoded(codes[n : n + 1], p.shape, inner[n]) for n, p in enumerate(pictures)]

    def _decode(self, encoded: slices.Encoded, points, box, image: str) -> np.ndarray:
        """(H, W) boolean mask of one slice's points or box (x0, y0, x1, y1)."""
        import torch

        net, side = self._net, self._net.image_encoder.img_size
        scale = np.array(encoded.inner[::-1]) / np.array(encoded.size[::-1])
        with torch.inference_mode():
            given = corners = None
            if points is not None:
                xy = torch.as_tensor(points[0] * scale, dtype=torch.float, device=self._device)
                given = xy[None], torch.as_tensor(points[1][None], device=self._device)
            if box is not None:
                corners = torch.as_tensor(
                    np.reshape(box, (1, 2, 2)) * scale, dtype=torch.float, device=self._device
                ).reshape(1, 4)
            sparse, dense = net.prompt_encoder(points=given, boxes=corners, masks=None)
            logits, _ = net.mask_decoder(
                image_embeddings=encoded.embedding,
                image_pe=net.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            network.finite(logits, self._name, image)
            return network.numpy_mask(
                _medical_mask(logits, encoded.size) if self._medical else _natural_mask(logits, encoded, side)
            )


def _natural_input(picture: np.ndarray, side: int):
    """SAM's input: longest side resized, ImageNet's mean and spread, zero padding."""
    import torch
    from segment_anything.utils.transforms import ResizeLongestSide

    small = ResizeLongestSide(side).apply_image(np.repeat(picture[:, :, None], 3, axis=2))
    tensor = torch.as_tensor(small).permute(2, 0, 1)[None].float()
    mean = torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)
    spread = torch.tensor([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)
    high, wide = small.shape[:2]
    padded = torch.nn.functional.pad((tensor - mean) / spread, (0, side - wide, 0, side - high))
    return padded, (high, wide)


def _natural_mask(logits, encoded: slices.Encoded, side: int):
    """SAM's way back: to the square, out of the padding, to the slice; above 0."""
    import torch

    resize = torch.nn.functional.interpolate
    full = resize(logits, (side, side), mode="bilinear", align_corners=False)
    full = full[..., : encoded.inner[0], : encoded.inner[1]]
    return resize(full, encoded.size, mode="bilinear", align_corners=False)[0, 0] > 0


def _medical_input(picture: np.ndarray, side: int):
    """MedSAM's input: a cubic resize to the square without keeping the aspect, then 0 to 1."""
    import torch
    from skimage.transform import resize

    rgb = np.repeat(picture[:, :, None], 3, axis=2)
    square = resize(rgb, (side, side), order=3, preserve_range=True, anti_aliasing=True)
    square = square.astype(np.uint8)
    low, high = int(square.min()), int(square.max())
    unit = (square - low) / max(high - low, 1e-8)
    return torch.tensor(unit).float().permute(2, 0, 1)[None], (side, side)


def _medical_mask(logits, size: tuple[int, int]):
    """MedSAM's way back: probabilities, resized to the slice, above 0.5."""
    import torch

    probability = torch.nn.functional.interpolate(
        torch.sigmoid(logits), size, mode="bilinear", align_corners=False
    )
    return probability[0, 0] > 0.5


def _parts(image: Volume, prompt: Prompt, stack: slices.Stack) -> list[tuple]:
    """Slice, points (xy (n, 2), signs (n,)) or None, box or None, of every picture to be segmented.

    Clicks beside boxes go to the boxes of their slice: a positive one to those that hold it, or to a
    picture of its own where none does, a negative one to all.
    """
    if prompt.box is not None and not prompt.boxes:
        first, last, box = slices.pixels_of(prompt.box, stack)
        boxes = [(z, box) for z in range(first, last + 1)]
    elif prompt.boxes or not prompt.first_clicks:
        boxes = slices.prompted_boxes(image, prompt, stack)
        if not prompt.boxes:  # the clicks have grown the region that the boxes are of
            return [(z, None, box) for z, box in boxes]
    else:
        boxes = []
    clicks, parts = _clicks_by_slice(prompt, stack), []
    for z, box in boxes:
        taken = [c for c in clicks.get(z, ()) if not c[2] or _holds(box, c)]
        parts.append((z, _points(taken), box))
    for z, given in sorted(clicks.items()):
        own = [c for c in given if c[2] and not any(_holds(b, c) for n, b in boxes if n == z)]
        if own:
            parts.append((z, _points([c for c in given if not c[2] or c in own]), None))
    return parts


def _holds(box: slices.Box2D, click: tuple[int, int, int]) -> bool:
    """Whether a click (x, y, sign) lies in a box of its slice."""
    return box[0] <= click[0] <= box[2] and box[1] <= click[1] <= box[3]


def _points(clicks: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels (n, 2) and signs (n,) of clicks; None where there is none."""
    return (np.array(clicks, float)[:, :2], np.array(clicks, int)[:, 2]) if clicks else None


def _clicks_by_slice(prompt: Prompt, stack: slices.Stack) -> dict[int, list[tuple[int, int, int]]]:
    """Clicks (x, y, sign) of each slice, in the order given."""
    found: dict[int, list] = {}
    for click in prompt.clicks:
        x, y, z = np.floor(geometry.to_voxel(stack.affine, click.xyz_mm) + 0.5).astype(int)
        if 0 <= z < len(stack.data):
            found.setdefault(int(z), []).append((int(x), int(y), int(click.positive)))
    return found


def _reach(image: Volume, prompt: Prompt, wanted: np.ndarray) -> np.ndarray:
    """Boolean (I, J, K): the slices that are segmented at all."""
    stack = slices.axial(Volume(wanted, image.affine))
    seen = np.zeros(stack.data.shape, bool)
    seen[[z for z, *_ in _parts(image, prompt, stack)]] = True
    return stack.back(seen)


def build(kind: str):
    """The network with random weights: ``vit_b``, ``vit_l``, ``vit_h``."""
    from segment_anything import sam_model_registry

    return sam_model_registry[kind]()


def _tiny(medical: bool) -> Segment:
    """Either with an encoder of one block, 64 pixels a side, random weights."""
    from segment_anything import modeling

    with network.seeded(0):
        encoder = modeling.ImageEncoderViT(
            depth=1,
            embed_dim=32,
            img_size=64,
            mlp_ratio=2,
            num_heads=2,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=[0],
            window_size=2,
            out_chans=32,
        )
        prompts = modeling.PromptEncoder(
            embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4
        )
        fusion = modeling.TwoWayTransformer(1, 32, 2, 32)
        decoder = modeling.MaskDecoder(transformer_dim=32, transformer=fusion, num_multimask_outputs=3)
        net = modeling.Sam(encoder, prompts, decoder)
    return SliceSam(net, "cpu", name="tiny SAM", medical=medical)


def _load(device: str = "cpu", *, name: str, kind: str, item: Weights, medical: bool = False) -> Segment:
    """One of the published files."""
    net = build(kind)
    files.load_strict(net, item, name)
    return SliceSam(net, device, name=name, medical=medical)


_COMMON = {
    "prompts": frozenset({"slice_click", "negative_click", "slice_box", "box"}),
    "reach": _reach,
    "packages": ("segment_anything", "torch", "torchvision"),
    "extra": "sam",
    "grid": "axial slices, 1024 x 1024",
}


def _sam(letter: str, item: Weights, size: str) -> Segmenter:
    """Record of one of SAM's three sizes."""
    name = f"sam_vit_{letter}"
    return Segmenter(
        name=name,
        title=f"SAM ViT-{letter.upper()}",
        summary=f"Segment Anything ({size} parameters) on axial slices, with points or boxes in each slice.",
        load=partial(_load, name=name, kind=f"vit_{letter}", item=item),
        settings={"side": SIDE, "multimask": False},
        weights=(item,),
        modalities=("CT", "MR", "PET"),
        paper="arXiv:2304.02643",
        code_licence="Apache-2.0",
        trained_on="11 million natural pictures",
        native="three or five points of the reference in each of its slices (protocols points_per_slice_3, "
        "points_per_slice_5); the size used in the papers is not stated",
        users="needs a prompt in every slice",
        tiny=partial(_tiny, medical=False),
        **_COMMON,
    )


_ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything/"


def _file(name: str, size: int, sha256: str) -> Weights:
    """One of SAM's files."""
    where = "the address in facebookresearch/segment-anything's README"
    return Weights(name, where, "Apache-2.0", size=size, sha256=sha256, url=_ADDRESS + name)


_FILE_B = _file(
    "sam_vit_b_01ec64.pth", 375042383, "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"
)
_FILE_L = _file(
    "sam_vit_l_0b3195.pth", 1249524607, "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"
)
_FILE_H = _file(
    "sam_vit_h_4b8939.pth", 2564550879, "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"
)
SAM_B, SAM_L, SAM_H = _sam("b", _FILE_B, "94 M"), _sam("l", _FILE_L, "312 M"), _sam("h", _FILE_H, "641 M")
_MEDSAM_FILE = Weights(
    file="medsam_vit_b.pth",
    where="the Google Drive folder named in bowang-lab/MedSAM's README",
    licence="Apache-2.0",
)
MEDSAM = Segmenter(
    name="medsam",
    title="MedSAM",
    summary="SAM ViT-B trained on medical pictures with boxes, a box per slice and component.",
    load=partial(_load, name="medsam", kind="vit_b", item=_MEDSAM_FILE, medical=True),
    settings={"side": SIDE},
    weights=(_MEDSAM_FILE,),
    paper="doi:10.1038/s41467-024-44824-z",
    code_licence="Apache-2.0",
    trained_on="1,090,486 picture-mask pairs of 15 modalities (model card)",
    native="boxes of the reference in each slice (protocol boxes_per_slice); the papers give it five points "
    "per slice (points_per_slice_5), which it was not trained for (bowang-lab/MedSAM#239)",
    users="poor with points (bowang-lab/MedSAM#142, #251)",
    tiny=partial(_tiny, medical=True),
    **_COMMON,
)
SAM_B_GROWN, SAM_L_GROWN, SAM_H_GROWN, MEDSAM_GROWN = map(slices.grown, (SAM_B, SAM_L, SAM_H, MEDSAM))
