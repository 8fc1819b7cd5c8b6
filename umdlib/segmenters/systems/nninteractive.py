"""nnInteractive by clicks, boxes, lines and masks, through its own package and in the file's own voxel order."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry, masks, orientation
from umdlib.images.volume import Volume
from umdlib.prompts import lassos, scribbles
from umdlib.prompts.prompt import Box, Click, Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network
from umdlib.segmenters.preparation.nnunet import tiny_plans
from umdlib.segmenters.preparation.nnunet_folder import without_folders
from umdlib.weights import reading as weights

FOLDER = "nnInteractive_v1.0"
SEED = 0  # of every interaction


def _file(name: str, size: int, sha256: str) -> Weights:
    """One of the published folder's files."""
    return Weights(
        file=f"{FOLDER}/{name}",
        where="Hugging Face MIC-DKFZ/nnInteractive, the whole folder nnInteractive_v1.0",
        licence="CC-BY-NC-SA-4.0",
        size=size,
        sha256=sha256,
        repo="MIC-DKFZ/nnInteractive",
        revision="3f308d751c00644e4fde6f09c600264b393b21b5",
    )


CHECKPOINT = _file(
    "fold_0/checkpoint_final.pth",
    411_387_150,
    "b3ac4421f85457bbd1aa0d87f5e67bcb7bc8e2ce6b824b6ac45077cc5d630ea9",
)
PLANS = _file("plans.json", 6287, "64a30a430438302a692a3edadd345a207b3428bea2e5cdc125298757da21f4d4")
_DATASET = _file("dataset.json", 245, "e090394ac539b2823b2135173658190245c462cb042d3442487e4829f08252c4")
_INFO = _file(
    "inference_session_class.json", 121, "8f43587a9d139fcf7af8776219e9432dab079f985cb0d7da72a4c851b39a4f09"
)

_NOTHING = (None, None, (), (), False)  # of `_first`: a prompt of clicks alone


class NnInteractive:
    """A session, the image it holds and the clicks it has been given."""

    def __init__(self, session) -> None:
        self._session = session
        network.guard(session.network, "nninteractive")
        self._data: np.ndarray | None = None
        self._given: tuple[Click, ...] = ()
        self._first = _NOTHING
        self._buffer: np.ndarray | None = None

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K) after box, lasso, scribble and all clicks, each predicted in its turn.

        Only what is new is computed where the prompt goes on from the last call's. A mask to start from
        comes first and is predicted on only where nothing else is given.
        """
        voxels = [_voxel(image, c) for c in prompt.clicks]
        self._show(image)
        known = len(self._given)
        try:
            first = _first(prompt)
            if (self._first, self._given) != (first, prompt.clicks[:known]):
                self._start_over()
                self._begin(image, prompt, first)
            for click, ijk in list(zip(prompt.clicks, voxels, strict=True))[len(self._given) :]:
                with _quiet_and_seeded():
                    self._session.add_point_interaction(ijk[::-1], click.positive)
                self._given = (*self._given, click)
        except BaseException:  # the session keeps a click that failed
            self._data = None
            raise
        return self._buffer.T.astype(bool)

    def _show(self, image: Volume) -> None:
        """Give the session an image, in SimpleITK's axis order (K, J, I), once."""
        if self._data is image.data:
            return
        with contextlib.redirect_stdout(io.StringIO()):
            self._session.set_image(np.ascontiguousarray(image.data.T[None], np.float32))
        self._data = image.data
        self._start_over()

    def _begin(self, image: Volume, prompt: Prompt, first: tuple) -> None:
        """Give the session all of a prompt but its clicks, in the order of the package's readme."""
        session = self._session
        if prompt.initial is not None:
            alone = not (prompt.clicks or prompt.box or prompt.lasso or prompt.scribble)
            mask = prompt.initial.on(image).T.astype(np.uint8)
            with _quiet_and_seeded():
                session.add_initial_seg_interaction(np.ascontiguousarray(mask), run_prediction=alone)
        if prompt.box is not None:
            in_volume = bool(session.supported_interactions.get("bbox3d"))
            voxels = _box_voxels(image, prompt.box, in_volume=in_volume)
            with _quiet_and_seeded():
                session.add_bbox_interaction(voxels[::-1], True)
        if prompt.lasso:
            with _quiet_and_seeded():
                session.add_lasso_interaction(*_cropped(lassos.enclosed(prompt.lasso, image)))
        if prompt.scribble:
            thickness = [int(n) for n in session.preferred_scribble_thickness[::-1]]
            mask = scribbles.drawn(prompt.scribble, image, thickness)
            with _quiet_and_seeded():
                session.add_scribble_interaction(mask.T.astype(np.uint8), True)
        self._first = first

    def _start_over(self) -> None:
        """Forget all that was given."""
        self._buffer = np.zeros(self._data.shape[::-1], np.uint8)
        self._session.set_target_buffer(self._buffer)
        self._session.reset_interactions()
        # without undo, what a failed call has queued stays
        self._session.new_interaction_centers = []
        self._session.new_interaction_zoom_out_factors = []
        self._given, self._first = (), _NOTHING


def _first(prompt: Prompt) -> tuple:
    """What a session is given before the clicks; a mask to start from counts with or without them."""
    given = prompt.initial, prompt.box, prompt.lasso, prompt.scribble
    return *given, prompt.initial is not None and bool(prompt.clicks)


def _box_voxels(image: Volume, box: Box, *, in_volume: bool) -> list[list[int]]:
    """Half-open voxels of a box along I, J, K; of one axial slice, the middle one, unless `in_volume`."""
    low, high = box.voxels(image.affine, image.shape)
    voxels = [[int(a), int(b) + 1] for a, b in zip(low, high, strict=True)]
    if in_volume or any(b - a == 1 for a, b in voxels):
        return voxels
    axis = int(np.flatnonzero(orientation.axes_of(image.affine)[:, 0] == 2)[0])
    middle = (int(low[axis]) + int(high[axis])) // 2
    voxels[axis] = [middle, middle + 1]
    return voxels


def _cropped(mask: np.ndarray) -> tuple[np.ndarray, bool, bool, bool, list[list[int]]]:
    """What `add_lasso_interaction` takes: the mask's box in (K, J, I), three switches, and its place."""
    (box,) = masks.bounding_boxes(mask, [1])
    part = mask[box].T.astype(np.uint8)
    return np.ascontiguousarray(part), True, True, False, [[s.start, s.stop] for s in box[::-1]]


@contextlib.contextmanager
def _quiet_and_seeded():
    """Around one interaction: AutoZoom draws the patches it refines from NumPy's global generator."""
    with contextlib.redirect_stdout(io.StringIO()), network.numpy_seeded(SEED):
        yield


def load(device: str = "cpu") -> Segment:
    """The published folder, vetted file by file before the package reads it.

    The package unpickles its checkpoint without restriction. The same file is read first with
    torch's restricted reader, which refuses anything but tensors and plain containers, and its
    hash is compared: what the package then reads can run no code.
    """
    for item in (PLANS, _DATASET, _INFO):
        weights.verified(item, "nninteractive")
    weights.vet(weights.as_published(CHECKPOINT, "nninteractive"))
    session = _session(device, autozoom=True)
    with contextlib.redirect_stdout(io.StringIO()):
        session.initialize_from_trained_model_folder(str(weights.folder() / FOLDER))
    return NnInteractive(session)


def tiny() -> Segment:
    """A residual encoder of 0.3 M random parameters on patches of 32 voxels, without AutoZoom.

    With random weights AutoZoom refines the whole image in hundreds of patches.
    """
    return NnInteractive(tiny_session())


def tiny_session(*, autozoom: bool = False):
    """The package's session around the tiny network."""
    return random_session(tiny_plans(), autozoom=autozoom)


def random_session(made: dict, *, autozoom: bool = False, device: str = "cpu"):
    """The package's session around a network of the plans' only configuration, with random weights."""
    session = _session(device, autozoom=autozoom)
    from nnInteractive.interaction.point import PointInteraction_stub
    from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(made)
    (name,) = made["configurations"]
    configuration = plans.get_configuration(name)
    dataset = {"channel_names": {"0": "image"}, "labels": {"background": 0, "object": 1}}
    with network.seeded(0):
        net = nnInteractiveTrainer_stub.build_network_architecture(
            plans, configuration, 8, 2, enable_deep_supervision=False
        )
    session.initialize_from_loaded_artifacts(
        {
            "capability_content": {},
            "point_interaction": PointInteraction_stub(4, True),
            "preferred_scribble_thickness": [2, 2, 2],
            "interaction_decay": 0.9,
            "pad_mode_data": "constant",
            "network": net.to(device).eval(),
            "plans_manager": plans,
            "configuration_manager": configuration,
            "dataset_json": dataset,
            "trainer_name": "nnInteractiveTrainer_stub",
            "label_manager": plans.get_label_manager(dataset),
            "license": "random",
        }
    )
    return session


def _session(device: str, *, autozoom: bool):
    """An empty session that leaves torch's threads as they are and keeps no undo."""
    import torch

    without_folders()
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    with contextlib.redirect_stdout(io.StringIO()):
        return nnInteractiveInferenceSession(
            device=torch.device(device),
            use_torch_compile=False,
            do_autozoom=autozoom,
            torch_n_threads=torch.get_num_threads(),
            enable_undo=False,
        )


def _voxel(image: Volume, click: Click) -> tuple[int, int, int]:
    """Voxel (i, j, k) of a click."""
    ijk = geometry.nearest_voxel(image.affine, click.xyz_mm, image.shape)
    if ijk is None:
        raise InputError(f"The click at {click.xyz_mm} mm lies outside {image.name} {image.shape}.")
    return ijk


NNINTERACTIVE = Segmenter(
    name="nninteractive",
    title="nnInteractive",
    summary="A residual U-Net (102 M parameters) with clicks, boxes, lassos, scribbles and a mask to start from "
    "as input channels; looks wider by itself where the mask meets its border.",
    load=load,
    prompts=frozenset({"click", "negative_click", "box", "scribble", "lasso", "initial_mask"}),
    version="2",
    settings={"autozoom": True, "model": FOLDER, "seed": SEED},
    packages=("nnInteractive", "nnunetv2", "torch"),
    extra="nninteractive",
    weights=(CHECKPOINT, PLANS, _DATASET, _INFO),
    paper="arXiv:2503.08373",
    code_licence="Apache-2.0",
    trained_on="more than 120 sets (CT, MR, PET, 3D microscopy); the number of volumes and the "
    "split by modality were not found",
    native="no click simulator in the package; the challenge script gives a box first. Of a box in 3D the "
    "published model takes its middle axial slice; a mask alone is refined",
    grid="192 x 192 x 192 voxels of the file's own spacing around the click, zoomed out up to "
    "four times; z-scored over the box of non-zero voxels",
    users="versions 1.x and 2.x infer differently; blocky masks before 1.1.0; torch 2.9 needs too "
    "much memory",
    tiny=tiny,
)
