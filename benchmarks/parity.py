"""Each adapter beside the official code: same small network, same phantom, voxel by voxel.

    python benchmarks/parity.py sam_med3d CHECKOUT   # a checkout of uni-medical/SAM-Med3D
    python benchmarks/parity.py vista3d CHECKOUT     # models/vista3d of Project-MONAI/model-zoo
    python benchmarks/parity.py slices MAIN LITE     # bowang-lab/MedSAM: main, branch LiteMedSAM

Needs the extras, and torchio, edt, opencv-python-headless, pytorch-ignite, fire. The checkout's code is
imported and run as it is; nothing of it is part of this project. Results: umdlib/segmenters/parity.tsv.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from umdlib import geometry, volume, weights
from umdlib.prompts import Box, Click, Prompt
from umdlib.segmenters import litemedsam, network, nninteractive, sam, sam_med3d, slices, vista3d

SHAPE = (47, 52, 29)
# spacings that share no divisor with 1.5 mm, so that no voxel centre falls between two others
AFFINE = np.array([[0, -2.2137, 0, 80], [1.9071, 0, 0, -120], [0, 0, -4.1033, 333], [0, 0, 0, 1.0]])
VOXELS = [(20, 25, 14), (30, 12, 9), (10, 40, 20)]
SIGNS = [True, True, False]


def phantom(amplitude: float, offset: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), 2)
    return (image / image.std() * amplitude + offset).astype(np.float32)


def organs() -> np.ndarray:
    labels, grid = np.zeros(SHAPE, np.uint8), np.indices(SHAPE)
    balls = [((12, 30, 9), (7, 9, 5)), ((30, 18, 18), (10, 6, 6)), ((40, 44, 24), (6, 7, 4))]
    for value, (centre, radii) in enumerate(balls, 1):
        distance = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True))
        labels[distance <= 1] = value
    return labels


def world(affine: np.ndarray, ijk) -> tuple[float, ...]:
    return tuple(geometry.to_world(affine, ijk).tolist())


def clicks(n: int) -> tuple[Click, ...]:
    return tuple(Click(world(AFFINE, v), s) for v, s in zip(VOXELS[:n], SIGNS, strict=False))


def report(name: str, official: np.ndarray, mine: np.ndarray) -> None:
    print(
        f"{name:40} differ {(official != mine).sum():4} of {official.size}, in mask {(official > 0).sum()}"
    )


def functions(path: Path, names: set[str], scope: dict) -> None:
    """Define some functions of a script that cannot be imported without running."""
    tree = ast.parse(path.read_text("utf-8"))
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
    exec(compile(tree, str(path), "exec"), scope)


def compare_sam_med3d(checkout: str) -> None:
    sys.path.insert(0, checkout)
    import torchio
    from utils import infer_utils

    centre = torchio.CropOrPad._compute_center_crop_or_pad
    torchio.CropOrPad._compute_center_crop_or_pad = lambda self, subject: centre(
        self, subject, self.target_shape
    )
    with network.seeded(1):
        net = sam_med3d.build(**sam_med3d.TINY).eval()
    labels, folder = organs(), Path(tempfile.mkdtemp())
    for kind in (np.float32, np.int16):
        image = (phantom(80, 60) + 30 * labels).astype(kind)
        for file, data in (("i.nii.gz", image), ("g.nii.gz", labels)):
            nib.save(nib.Nifti1Image(data, AFFINE), folder / file)
        for n in (1, 3):
            drawn, metas = [], []
            _official_sam_med3d(infer_utils, net, folder, n, drawn, metas)
            official = np.asarray(nib.load(folder / "o" / "o.nii.gz").dataobj)
            given = volume.read_volume(folder / "i.nii.gz", unit="HU")
            segment = sam_med3d.SamMed3D(net, "cpu", name="tiny", size=64)
            mine = np.zeros_like(official)
            for value in (1, 2, 3):
                points = tuple(
                    Click(world(metas[value - 1], p), s)
                    for p, s in drawn[(value - 1) * n : value * n]
                )
                index = np.argwhere(labels == value)
                faces = geometry.to_world(AFFINE, [index.min(0) - 0.5, index.max(0) + 0.5])
                box = Box(tuple(faces.min(0)), tuple(faces.max(0)))
                mine[segment(given, Prompt("x", points, box))] = value
            report(f"SAM-Med3D {kind.__name__}, clicks {n}", official, mine)


def _official_sam_med3d(infer_utils, net, folder: Path, n: int, drawn: list, metas: list) -> None:
    """Run the official validation and note the clicks it draws and the affine of each cube."""
    draw, infer, prepare = (
        infer_utils.random_sample_next_click, infer_utils.sam_model_infer,
        infer_utils.data_preprocess,
    )  # fmt: skip

    def noted(previous, reference):
        point, sign = draw(previous, reference)
        drawn.append((point.reshape(3).numpy(), bool(sign)))
        return point, sign

    def prepared(*args, **kwargs):
        result = prepare(*args, **kwargs)
        metas.append(result[2]["roi_subject_affine"])
        return result

    infer_utils.data_preprocess = prepared
    infer_utils.sam_model_infer = lambda *a, **k: infer(*a, prompt_generator=noted, **k)
    files = (str(folder / f) for f in ("i.nii.gz", "g.nii.gz", "o/o.nii.gz"))
    infer_utils.validate_paired_img_gt(net, *files, num_clicks=n, crop_size=64)
    infer_utils.data_preprocess, infer_utils.sam_model_infer = prepare, infer


def compare_vista3d(checkout: str) -> None:
    sys.path.insert(0, checkout)
    from monai.bundle import ConfigParser

    torch.from_numpy = torch.as_tensor  # the 2024 script gets a tensor back from numpy 2
    folder = Path(tempfile.mkdtemp())
    image = phantom(250, 60)
    image[:3] = image[:, :, -2:] = -900
    nib.save(nib.Nifti1Image(image, AFFINE), folder / "i.nii.gz")
    given = volume.read_volume(folder / "i.nii.gz", unit="HU")
    with network.seeded(0):
        net = vista3d.build(small=True).eval()
    config = json.loads((Path(checkout) / "configs" / "inference.json").read_text("utf-8"))
    config |= {"bundle_root": checkout, "output_dir": str(folder), "patch_size": [64] * 3,
               "device": "$torch.device('cpu')", "network_def": net, "initialize": [],
               "handlers": []}  # fmt: skip
    config["evaluator"]["amp"] = False

    def official(**prompt):
        parser = ConfigParser(
            config | {"input_dict": {"image": str(folder / "i.nii.gz"), **prompt}}
        )
        parser.parse()
        parser.get_parsed_content("evaluator").run()
        return np.asarray(nib.load(folder / "i" / "i_trans.nii.gz").dataobj)

    for name in ("liver", "kidney_left", "lung", "esophagus"):
        ids = vista3d.CLASSES[name]
        theirs = np.isin(official(label_prompt=[20] if name == "lung" else list(ids)), ids)
        mine = vista3d.Vista3D(net, "cpu", by="class", side=64)(given, Prompt(name))
        report(f"VISTA3D class {name}", theirs, mine)
    for n in (1, 3):
        points, signs = [list(v) for v in VOXELS[:n]], [int(s) for s in SIGNS[:n]]
        theirs = official(points=points, point_labels=signs) == 1
        mine = vista3d.Vista3D(net, "cpu", by="click", side=64)(given, Prompt("x", clicks(n)))
        report(f"VISTA3D points {n}", theirs, mine)


def compare_slices(main: str, lite: str) -> None:
    image = volume.Volume(phantom(120, 30), AFFINE, "HU")
    _compare_nninteractive(image)
    stack = slices.axial(volume.Volume(slices.grey(image), AFFINE))
    faces = geometry.to_world(stack.affine, [[9.5, 7.5, 8.5], [30.5, 29.5, 11.5]])
    prompt = Prompt("x", box=Box(tuple(faces.min(0)), tuple(faces.max(0))))
    first, last, box = slices.pixels_of(prompt.box, stack)
    _compare_sam(image, stack, prompt, range(first, last + 1), box)
    _compare_medsam(Path(main), image, stack, prompt, range(first, last + 1), box)
    _compare_litemedsam(Path(lite), image, stack, prompt, (first, last), box)


def _compare_nninteractive(image) -> None:
    session, segment = nninteractive.tiny_session(), nninteractive.tiny()
    buffer = np.zeros(image.shape[::-1], np.uint8)
    session.set_image(np.ascontiguousarray(image.data.T[None]))
    session.set_target_buffer(buffer)
    for n in (1, 3):
        session.reset_interactions()
        buffer[:] = 0
        for voxel, sign in zip(VOXELS[:n], SIGNS, strict=False):
            session.add_point_interaction(voxel[::-1], sign)
        report(f"nnInteractive clicks {n}", buffer.T > 0, segment(image, Prompt("x", clicks(n))))


def _compare_sam(image, stack, prompt, where, box) -> None:
    from segment_anything import SamPredictor

    segment, theirs = sam.SAM_B.tiny(), np.zeros(stack.data.shape, bool)
    predictor = SamPredictor(segment._net)
    for z in where:
        predictor.set_image(np.repeat(stack.data[z][:, :, None], 3, axis=2))
        theirs[z] = predictor.predict(box=np.array(box), multimask_output=False)[0][0]
    report("SAM box", stack.back(theirs), segment(image, prompt))


def _compare_medsam(checkout: Path, image, stack, prompt, where, box) -> None:
    from skimage import transform

    scope = {"torch": torch, "F": torch.nn.functional, "np": np}
    functions(checkout / "MedSAM_Inference.py", {"medsam_inference"}, scope)
    segment, theirs, side = sam.MEDSAM.tiny(), np.zeros(stack.data.shape, bool), 64
    for z in where:
        rgb = np.repeat(stack.data[z][:, :, None], 3, axis=-1)
        high, wide, _ = rgb.shape
        square = transform.resize(
            rgb, (side, side), order=3, preserve_range=True, anti_aliasing=True
        ).astype(np.uint8)
        unit = (square - square.min()) / np.clip(np.ptp(square), 1e-8, None)
        with torch.no_grad():
            code = segment._net.image_encoder(torch.tensor(unit).float().permute(2, 0, 1)[None])
        corners = np.array([box]) / np.array([wide, high, wide, high]) * side
        theirs[z] = scope["medsam_inference"](segment._net, code, corners, high, wide) > 0
    report("MedSAM box", stack.back(theirs), segment(image, prompt))


def _compare_litemedsam(checkout: Path, image, stack, prompt, ends, box) -> None:
    import cv2

    net = litemedsam.build()
    weights.load_strict(net, litemedsam.FILE, "litemedsam")
    saved = {}

    class Arrays:
        """NumPy whose files are in memory."""

        def __getattr__(self, name):
            return getattr(np, name)

        def load(self, *args, **kwargs):
            corners = np.array([[box[0], box[1], ends[0], box[2], box[3], ends[1]]])
            return {"imgs": stack.data, "spacing": None, "boxes": corners}

        def savez_compressed(self, *args, segs):
            saved["segs"] = segs

    scope = {"torch": torch, "F": torch.nn.functional, "np": Arrays(), "cv2": cv2, "device": "cpu",
             "medsam_lite_model": net.eval(), "basename": str, "join": lambda *a: a[-1],
             "pred_save_dir": "", "save_overlay": False}  # fmt: skip
    functions(
        checkout / "CVPR24_LiteMedSAM_infer.py",
        {"resize_longest_side", "pad_image", "get_bbox256", "resize_box_to_256",
         "medsam_inference", "MedSAM_infer_npz_3D"}, scope,
    )  # fmt: skip
    scope["MedSAM_infer_npz_3D"]("3D_phantom.npz")
    mine = litemedsam.LiteMedSAM(net, "cpu")(image, prompt)
    report("LiteMedSAM 3D box", stack.back(saved["segs"] > 0), mine)


if __name__ == "__main__":
    torch.set_num_threads(1)
    compare = {"sam_med3d": compare_sam_med3d, "vista3d": compare_vista3d, "slices": compare_slices}
    compare[sys.argv[1]](*sys.argv[2:])
