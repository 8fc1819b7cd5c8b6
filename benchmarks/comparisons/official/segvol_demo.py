"""Runs in SegVol's environment: the demo's own functions on random weights, prompted by a reference.

    python segvol_demo.py CHECKOUT FOLDER SPATIAL_SIZE

FOLDER holds ``i.nii.gz`` and ``g.nii.gz``; it gets ``w.pth``, the masks, and ``cases.json`` with the
points that the demo drew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import torch

CHECKOUT, FOLDER, SPATIAL = sys.argv[1], Path(sys.argv[2]), tuple(json.loads(sys.argv[3]))
CASES = [
    ("1 point", 0, 0, False, None),
    ("1 point and text", 0, 0, False, "liver"),
    ("3 points, one negative", 1, 1, False, None),
    ("a box and text", None, None, True, "liver"),
    ("text alone", None, None, False, "liver"),
]


def main() -> None:
    if not torch.cuda.is_available():
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *a, **k: self
    sys.path.insert(0, CHECKOUT)
    import inference_demo
    from data_process.demo_data_process import process_ct_gt

    args = SimpleNamespace(
        test_mode=True,
        spatial_size=SPATIAL,
        patch_size=(4, 16, 16),
        infer_overlap=0.5,
        clip_ckpt=f"{CHECKOUT}/config/clip",
        visualize=False,
        use_zoom_in=True,
    )
    net = random_network(inference_demo, args)
    item = process_ct_gt(str(FOLDER / "i.nii.gz"), str(FOLDER / "g.nii.gz"), ["liver"], SPATIAL)
    numbers = voxel_numbers()
    cases = []
    for number, (said, positive, negative, box, text) in enumerate(CASES):
        args.use_point_prompt, args.use_box_prompt = positive is not None, box
        args.use_text_prompt = text is not None
        drawn = []
        inference_demo.select_points = drawing(positive, negative, drawn, seed=number)
        torch.manual_seed(number)
        record = inference_demo.zoom_in_zoom_out(
            args,
            net,
            item["image"].float()[None],
            item["zoom_out_image"].float()[None],
            item["label"][None],
            item["zoom_out_label"][None],
            categories=["liver"],
        )
        mask = (torch.sigmoid(record["liver"][4]) > 0.5).numpy()
        whole = np.zeros(numbers.whole, np.uint8)
        whole.flat[numbers.crop[numbers.crop > 0] - 1] = mask[numbers.crop > 0]
        nib.save(nib.Nifti1Image(whole, numbers.affine), FOLDER / f"{number}.nii.gz")
        cases.append(
            {
                "said": said,
                "mask": f"{number}.nii.gz",
                "box": box,
                "text": text,
                "seed": number,
                "voxels": [[shown(numbers, point), sign] for point, sign in drawn],
            }
        )
    (FOLDER / "cases.json").write_text(json.dumps(cases))


def random_network(inference_demo, args):
    """The network as the demo builds it, with random weights, saved as its training does."""
    torch.manual_seed(0)
    sam = inference_demo.sam_model_registry["vit"](args=args)
    net = inference_demo.SegVol(
        image_encoder=sam.image_encoder,
        mask_decoder=sam.mask_decoder,
        prompt_encoder=sam.prompt_encoder,
        clip_ckpt=args.clip_ckpt,
        roi_size=args.spatial_size,
        patch_size=args.patch_size,
        test_mode=True,
    ).cuda()
    net = torch.nn.DataParallel(net, device_ids=[0])
    with torch.no_grad():
        for value in net.parameters():
            value += 0.05 * torch.randn_like(value)
    # DataParallel without a GPU keeps the name `module` in its keys, as with one
    torch.save({"model": net.state_dict(), "epoch": 0}, FOLDER / "w.pth")
    return net.eval()


def drawing(positive, negative, drawn: list, seed: int):
    """The demo's sampler with other numbers of extra points; notes them, then sets the seed."""
    from utils.monai_inferers_utils import select_points

    def select(label, **kwargs):
        points, signs = select_points(label, positive, negative)
        drawn.extend([[int(v) for v in p], int(s)] for p, s in zip(points, signs))  # noqa: B905
        torch.manual_seed(seed)
        return points, signs

    return select


def voxel_numbers() -> SimpleNamespace:
    """The number of every voxel of the file, sent through the demo's own transforms."""
    import monai.transforms as transforms
    from data_process.demo_data_process import DimTranspose, ForegroundNormalization, MinMaxNormalization

    file = nib.load(FOLDER / "i.nii.gz")
    number = np.arange(1, np.prod(file.shape) + 1).reshape(file.shape)
    item = {"image": np.asarray(file.dataobj, np.float32)[None], "label": number[None]}
    both = ["image", "label"]
    crop = transforms.Compose(
        [
            ForegroundNormalization(keys=["image"]),
            DimTranspose(keys=both),
            MinMaxNormalization(),
            transforms.SpatialPadd(keys=both, spatial_size=SPATIAL, mode="constant"),
            transforms.CropForegroundd(keys=both, source_key="image"),
        ]
    )(item)["label"]
    return SimpleNamespace(whole=file.shape, affine=file.affine, crop=np.asarray(crop)[0].astype(np.int64))


def shown(numbers: SimpleNamespace, point: list) -> list[float]:
    """Where the middle of a zoomed-out voxel lies, in voxels of the file.

    Not that of the nearest voxel (as the demo's resizing): one voxel can be shown by several.
    """
    pairs = zip(point, numbers.crop.shape, SPATIAL)  # noqa: B905
    place = np.array([(v + 0.5) * n / w - 0.5 for v, n, w in pairs])
    index = np.floor(place + 0.5).astype(int)
    voxel = np.unravel_index(numbers.crop[tuple(index)] - 1, numbers.whole)
    return [float(v + d) for v, d in zip(voxel, (place - index)[::-1])]  # noqa: B905


if __name__ == "__main__":
    main()
