"""Out-of-process systems: the job, the checks of what comes back, and each way it can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from umdlib import segmenters
from umdlib.__main__ import main
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Box, Click, Prompt, box_of
from umdlib.segmenters.external import worker as external
from umdlib.segmenters.external.workers import file_contract, medsam2, sat_pro, segvol
from umdlib.segmenters.preparation import slices

AFFINE = np.array([[0, -2.5, 0, 90], [3.0, 0, 0, -150], [0, 0, 4.0, 400], [0, 0, 0, 1]])
WORKER = """
import json, os, sys
from pathlib import Path
import nibabel as nib, numpy as np
for line in sys.stdin:
    file = Path(line.strip())
    job, out = json.loads(file.read_text()), file.parent
    image = nib.load(job["image"])
    data = np.asarray(image.dataobj)
    mask = data >= (data[tuple(job["clicks"][0]["ijk"])] if job["clicks"] else 5)
    with open({record!r}, "a") as seen: seen.write(str(os.getpid()) + " " + file.read_text() + chr(0))
    affine = {affine}
    for s in job["structures"]:
        nib.save(nib.Nifti1Image(mask.astype(np.uint8) * {value}, affine), out / (str(s["value"]) + ".nii.gz"))
    log = {{"commit": job["commit"], "matched_fraction": {matched}, "seconds": 0.1, "peak_bytes": 1,
           "device": "cpu", "versions": {{}}}}
    if {log}: (out / "log.json").write_text(json.dumps(log))
    {more}
    print({word!r}, flush=True)
"""


@pytest.fixture
def image():
    data = np.zeros((6, 7, 8), np.float32)
    data[2:4, 3:5, 4:6] = 5
    return Volume(data, AFFINE, "SUV", "phantom")


def inside(**more) -> Prompt:
    world = AFFINE @ (2, 3, 4, 1)
    return Prompt("kidney_left", (Click(tuple(world[:3].tolist())),), **more)


@pytest.fixture
def made(tmp_path):
    """Makes `External` around a small worker of its own, and stops what it started."""
    started = []

    def segment(*, options=None, **change):
        given = {
            "affine": "image.affine",
            "value": 1,
            "matched": 1.0,
            "log": True,
            "more": "pass",
            "word": "done",
            "record": str(tmp_path / "seen"),
        } | change
        worker = tmp_path / "worker.py"
        worker.write_text(WORKER.format(**given))
        job = {"checkpoints": {}, "commit": "abc", "device": "cpu", "settings": {}}
        options = {"limit_s": 60.0} | (options or {})
        started.append(external.External("demo", [sys.executable, str(worker)], job, **options))
        return started[-1]

    yield segment
    for one in started:
        one.stop()


def jobs_seen(tmp_path) -> list[str]:
    return (tmp_path / "seen").read_text().split("\0")[:-1]


def test_a_workers_mask_comes_back_on_the_image_grid(made, image):
    mask = made()(image, inside())
    np.testing.assert_array_equal(mask, image.data > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"affine": "np.eye(4)"}, "Mask of 'demo' is not on the grid of phantom: a corner lies"),
        ({"matched": 0.25}, "loaded 25.0% of its checkpoint. Must be all"),
        ({"log": False}, "wrote no log.json"),
        ({"value": 3}, "Label value 3 in .* is not a structure"),
        ({"more": "raise SystemError('CUDA is needed')"}, r"ended with status 1 after .*\n.*CUDA is needed"),
        (
            {"more": "print('a key is missing', file=sys.stderr)", "word": "failed"},
            r"failed after .*\n.*a key is missing",
        ),
    ],
)
def test_each_fault_is_named(made, image, change, message):
    with pytest.raises(InputError, match=r"(?s)" + message):
        made(**change)(image, inside())


def test_a_worker_that_hangs_is_stopped(made, image):
    slow = made(more="import time; time.sleep(60)", options={"limit_s": 2.0})
    with pytest.raises(InputError, match=r"took over 2 s"):
        slow(image, inside())
    assert slow._process is None


def test_a_worker_that_died_is_started_again(made, image, tmp_path):
    fragile = made(
        more=f"if not Path({str(tmp_path / 'died')!r}).exists(): "
        f"Path({str(tmp_path / 'died')!r}).touch(); os._exit(9)"
    )
    with pytest.raises(InputError, match="ended with status 9"):
        fragile(image, inside())
    assert fragile(image, inside()).any()


def test_one_worker_serves_many_jobs(made, image, tmp_path):
    segment = made()
    segment(image, inside())
    segment(image, inside(seed=3))
    pids = {seen.split()[0] for seen in jobs_seen(tmp_path)}
    assert len(jobs_seen(tmp_path)) == 2 and len(pids) == 1


def test_structures_asked_by_name_alone_share_one_job(made, image, tmp_path):
    together = ("liver", "kidney_left", "esophagus")
    segment = made(options={"together": together, "takes_text": True})
    for name in together:
        assert segment(image, Prompt(name)).any()
    assert segment(image, Prompt("esophagus", text="oesophagus")).any()
    (seen,) = jobs_seen(tmp_path)
    assert '"left kidney"' in seen and '"esophagus"' in seen
    segment(image, Prompt("liver", text="liver metastasis"))
    assert len(jobs_seen(tmp_path)) == 2


def test_clicks_and_a_box_together_are_refused(made, image):
    with pytest.raises(InputError, match="takes clicks or a box, not both"):
        made()(image, inside(box=Box((0, 0, 0), (9, 9, 9))))


def test_the_job_holds_the_click_and_no_reference(image):
    job = external.job_of(image, inside(), file="i.nii.gz", texts={"kidney_left": "left kidney"})
    (click,) = job["clicks"]
    assert (click["ijk"], click["ras_mm"], click["positive"]) == ((2, 3, 4), [82.5, -144.0, 416.0], True)
    np.testing.assert_allclose(click["voxel"], (2, 3, 4))
    assert job["modality"] == "pet" and job["box"] is None
    assert set(job) == {"contract", "image", "modality", "structures", "clicks", "box", "seed"}


def test_a_box_is_the_voxels_it_covers(image):
    prompt = Prompt("kidney_left", box=box_of(AFFINE, (2, 3, 4), (3, 4, 5)))
    job = external.job_of(image, prompt, file="i.nii.gz", texts={"kidney_left": None})
    assert job["box"] == {"first": [2, 3, 4], "last": [3, 4, 5]}


@pytest.mark.parametrize("name", external.SYSTEMS)
def test_the_environment_is_made_from_a_pinned_list(name, tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_EXTERNAL", str(tmp_path))
    clone, checkout, *_ = external.commands(name)
    assert clone[-2].startswith("https://github.com/")
    assert len(checkout[-1]) >= 7
    monkeypatch.setattr(external, "_uv", lambda: "/somewhere/uv")
    *_, venv, install = external.commands(name, checkout=tmp_path)
    assert venv[:4] == ["/somewhere/uv", "venv", "--python", "3.10"]
    monkeypatch.setattr(external, "_uv", lambda: None)
    *_, venv, install = external.commands(name, checkout=tmp_path)
    assert venv[0] == "python3.10"
    pinned = [line for line in Path(install[-1]).read_text().splitlines() if not line.startswith("#")]
    assert all("==" in line for line in pinned)
    assert any(line.startswith("nvidia-cuda-runtime-cu12==12") for line in pinned)  # has kernels for sm_90
    assert not segmenters.availability(name).ok
    with pytest.raises(InputError, match=r"is not a checkout of .*: it holds no "):
        external.make(name, checkout=tmp_path, say=lambda line: None)


def test_a_step_that_fails_shows_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_EXTERNAL", str(tmp_path))
    failing = [[sys.executable, "-c", "import sys; sys.exit('no such commit')"]]
    monkeypatch.setattr(external, "commands", lambda name, **k: failing)
    with pytest.raises(InputError, match=r"(?s)failed:\nno such commit"):
        external.make("segvol", say=lambda line: None)
    assert external.unready("segvol") is not None


def test_an_interpreter_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UMD_EXTERNAL", str(tmp_path / "made"))
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "inference_demo.py").touch()
    make = ["segmenters", "--make", "segvol", "--checkout", str(checkout), "--python", "/no/python"]
    assert main(make) == 2
    assert "'--python PATH' names an interpreter" in capsys.readouterr().err


def test_a_checkout_of_ones_own_is_kept_with_its_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_EXTERNAL", str(tmp_path / "made"))
    monkeypatch.setattr(external, "commands", lambda name, **k: [])
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "inference_demo.py").touch()
    home = external.make("segvol", checkout=checkout, say=lambda line: None)
    assert "unknown" in (home / "ready.json").read_text()
    assert external.unready("segvol") is None
    (checkout / "inference_demo.py").unlink()
    assert "is gone" in external.unready("segvol")


def test_workers_need_nothing_of_this_package():
    for script in (file_contract, segvol, sat_pro, medsam2):
        code = f"import ast, sys; print([n for n in ast.walk(ast.parse(open({script.__file__!r}).read()))"
        code += " if isinstance(n, (ast.Import, ast.ImportFrom)) and 'umdlib' in ast.unparse(n)])"
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_segvol_prepares_an_image_once(tmp_path, monkeypatch, image):
    """The demo's preprocessing is counted; another image in the same file is prepared anew."""
    prepared = []
    demo = ModuleType("data_process.demo_data_process")
    demo.process_ct_gt = lambda *given: prepared.append(given) or {"number": len(prepared)}
    monkeypatch.setitem(sys.modules, "data_process", ModuleType("data_process"))
    monkeypatch.setitem(sys.modules, "data_process.demo_data_process", demo)
    worker, file = segvol.SegVolWorker(tmp_path), tmp_path / "image.nii.gz"
    job, settings = {"image": str(file)}, SimpleNamespace(spatial_size=(4, 6, 5))
    for data, number in ((image.data, 1), (image.data, 1), (image.data[::-1], 2)):
        nib.save(nib.Nifti1Image(data, image.affine), file) if number != len(prepared) else None
        item = worker._prepared(job, tmp_path, nib.load(file), settings)
        assert item["number"] == number
    assert len(prepared) == 2


def shown_by_the_demo(shape, window):
    """The demo's padding and crop to the positive, done by numpy, on an array of voxel numbers."""
    number = np.arange(1, np.prod(shape) + 1).reshape(shape)
    foreground = np.zeros(shape, bool)
    foreground[2:-1, 1:, 3:-2] = True
    pads = [
        (max(w - n, 0) // 2, max(w - n, 0) - max(w - n, 0) // 2)
        for w, n in zip(window, shape[::-1], strict=True)
    ]
    padded, kept = (np.pad(a.T, pads) for a in (number, number * foreground))
    ends = [(a.min(), a.max() + 1) for a in np.nonzero(kept)]
    cut = padded[tuple(slice(a, b) for a, b in ends)]
    item = {
        "image": cut[None],
        "foreground_start_coord": [a for a, _ in ends],
        "foreground_end_coord": [b for _, b in ends],
    }
    return number, cut, segvol.crop_of(shape, item, window)


def test_segvols_crop_goes_there_and_back():
    number, cut, crop = shown_by_the_demo((11, 9, 12), (4, 16, 8))
    back = crop.back(cut)
    inside = back > 0
    np.testing.assert_array_equal(back[inside], number[inside])
    np.testing.assert_array_equal(inside[2:-1, 1:, 3:-2], True)


def test_segvols_click_lands_on_the_voxel_that_holds_it():
    window = (4, 6, 5)
    number, cut, crop = shown_by_the_demo((11, 9, 12), window)
    zoomed = cut[
        np.ix_(
            *(
                np.floor((np.arange(w) + 0.5) * n / w).astype(int)
                for n, w in zip(cut.shape, window, strict=True)
            )
        )
    ]
    for target in np.ndindex(window):
        voxel = np.argwhere(number == zoomed[target])[0]
        assert segvol.zoomed(crop, window, voxel.tolist()) == list(target)


def test_segvols_box_covers_the_zoomed_voxels_that_show_it():
    number, cut, crop = shown_by_the_demo((11, 9, 12), (4, 6, 5))
    first, last = crop.start, np.add(crop.start, crop.size) - 1
    ends = {
        "first": (first - np.array(crop.before))[::-1].tolist(),
        "last": (last - np.array(crop.before))[::-1].tolist(),
    }
    assert segvol.zoomed_box(crop, (4, 6, 5), ends) == [0, 0, 0, 3, 5, 4]


def test_a_mask_on_another_grid_is_the_nearest_voxel():
    rng = np.random.default_rng(0)
    mask = rng.random((9, 8, 7)) > 0.5
    finer = AFFINE.copy()
    finer[:3, :3] /= 2
    out = file_contract.onto_grid(mask, AFFINE, finer, (10, 10, 10))
    for ijk in np.ndindex(out.shape):
        near = geometry.nearest_voxel(AFFINE, geometry.to_world(finer, ijk), mask.shape)
        assert out[ijk] == (near is not None and mask[near])


def test_a_checkpoint_that_does_not_fit_is_refused_with_its_keys():
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 3)
    good = {f"module.{k}": v + 1 for k, v in net.state_dict().items()}
    assert file_contract.fill(net, good, ("model.", "module.", "")) == 1
    torch.testing.assert_close(net.weight, good["module.weight"])
    with pytest.raises(RuntimeError, match=r"matched fraction 0.333 .* Missing: \['bias'\]"):
        file_contract.fill(net, {"weight": net.weight, "b": net.bias})


def test_sats_file_may_hold_the_heads_of_its_training():
    state = {"module.a": 1, "module.mid_mask_embed_proj.0.0.weight": 2}
    assert sat_pro.for_inference(state) == {"module.a": 1}


def test_sats_one_process_moves_what_the_official_code_leaves_on_the_cpu(monkeypatch):
    torch = pytest.importorskip("torch")
    kept = torch.nn.parallel.DistributedDataParallel
    monkeypatch.setenv("RANK", "")
    try:
        sat_pro._one_process()
        wrapped = torch.nn.parallel.DistributedDataParallel(
            torch.nn.Embedding(4, 2, device="meta"), device_ids=[0]
        )
        assert wrapped(torch.tensor([1, 2])).shape == (2, 2)
        assert wrapped(input=torch.tensor([1])).device.type == "meta"
    finally:
        torch.nn.parallel.DistributedDataParallel = kept


def test_nan_of_a_worker_is_no_empty_mask():
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 1)
    net.register_forward_hook(file_contract.no_nan)
    net(torch.tensor([[1e38, 0.0]]))  # a large answer is one
    with pytest.raises(RuntimeError, match="answered NaN"):
        net(torch.tensor([[torch.nan, 0.0]]))


def test_only_vetted_checkpoints_are_read_without_restriction(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pth"
    torch.save({"lr": np.float64(1)}, path)
    with pytest.raises(Exception, match="weights_only|Weights only"):
        file_contract.read_checkpoint({"path": str(path)})
    given = {"path": str(path), "vetted": True, "sha256": file_contract.sha256(str(path))}
    assert file_contract.read_checkpoint(given)["lr"] == 1
    torch.save({"lr": np.float64(2)}, path)
    with pytest.raises(RuntimeError, match="was changed since it was checked"):
        file_contract.read_checkpoint(given)


def test_a_gpu_that_the_pinned_torch_does_not_know_is_named(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_70", "sm_86"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda n: (9, 0))
    with pytest.raises(RuntimeError, match=r"no kernels for this GPU \(sm_90; it has sm_70, sm_86"):
        file_contract.only_gpu("cuda:1")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda n: (8, 9))
    assert str(file_contract.only_gpu("cuda:1")) == "cuda"
    assert file_contract.only_gpu("cpu").type == "cpu"


# --- MedSAM2's pictures ---------------------------------------------------------------------------

PERMUTED = np.array([[0, 0, 3.1, -40], [-2.6, 0, 0, 60], [0, -1.7, 0, 200.3], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("unit", ["HU", "SUV"])
@pytest.mark.parametrize("affine", [AFFINE, PERMUTED])
def test_medsam2s_pictures_are_those_of_the_other_2d_systems_and_go_back(unit, affine):
    rng = np.random.default_rng(0)
    data = np.maximum(rng.normal(0, 100, (7, 9, 11)), -50 if unit == "HU" else 0).astype(np.float32)
    stack = slices.axial(Volume(slices.grey(Volume(data, affine, unit)), affine))
    pictures = medsam2.pictures_of(nib.Nifti1Image(data, affine), external.MODALITY[unit])
    np.testing.assert_array_equal(pictures.data, stack.data)
    mask = rng.random(pictures.data.shape) > 0.5
    np.testing.assert_array_equal(pictures.back(mask), stack.back(mask))
    for ijk in ((0, 0, 0), (6, 2, 9)):
        x, y, z = pictures.pixel(ijk)
        assert mask[z, y, x] == pictures.back(mask)[ijk]


def test_medsam2_is_asked_in_one_slice():
    image = nib.Nifti1Image(np.zeros((7, 9, 11), np.float32), np.diag([-1.0, -1.0, 1.0, 1.0]))
    pictures = medsam2.pictures_of(image, "pet")
    box = {"first": [1, 2, 3], "last": [4, 5, 8]}
    assert medsam2.asked({"box": box, "clicks": []}, pictures) == (5, (1, 2, 4, 5), None)
    clicks = [{"ijk": [1, 2, 3], "positive": True}, {"ijk": [4, 4, 3], "positive": True}]
    z, given, (points, signs) = medsam2.asked({"box": None, "clicks": clicks}, pictures)
    assert (z, given, points.tolist(), signs.tolist()) == (3, None, [[1, 2], [4, 4]], [1, 1])
    clicks[1]["ijk"] = [4, 4, 9]
    with pytest.raises(RuntimeError, match="one axial slice; these lie in several"):
        medsam2.asked({"box": None, "clicks": clicks}, pictures)


def test_medsam2s_frames_have_the_mean_and_spread_of_its_training():
    pytest.importorskip("torch")
    frames = medsam2.frames_of(np.full((2, 5, 9), 255, np.uint8), "cpu")
    assert tuple(frames.shape) == (2, 3, 512, 512)
    for channel, (mean, spread) in enumerate(zip(medsam2._MEAN, medsam2._SPREAD, strict=True)):
        assert frames[:, channel].numpy() == pytest.approx((1 - mean) / spread, abs=1e-6)


class Followed:
    """In the official predictor's place: the prompted slice's mask, one row shorter with each slice away."""

    def __init__(self):
        import torch

        self.device, self.shown, self.prompts = torch.device("cpu"), [], []

    def init_state(self, frames, height, width):
        self.shown.append(tuple(frames.shape))
        return {"size": (len(frames), height, width)}

    def add_new_points_or_box(self, state, frame_idx, obj_id, **given):
        self.prompts.append((frame_idx, given))
        x0, y0, x1, y1 = given["box"]
        return self._logits(state, slice(y0, y1 + 1), slice(x0, x1 + 1))

    def add_new_mask(self, state, frame_idx, obj_id, mask):
        state["rows"], state["columns"] = (np.flatnonzero(mask.any(axis=a)) for a in (1, 0))
        return self._logits(state, state["rows"], slice(state["columns"][0], state["columns"][-1] + 1))

    def propagate_in_video(self, state, start_frame_idx, reverse):
        for n in range(start_frame_idx, -1, -1) if reverse else range(start_frame_idx, state["size"][0]):
            rows, columns = state["rows"][: -abs(n - start_frame_idx) or None], state["columns"]
            yield n, *self._logits(state, rows, slice(columns[0], columns[-1] + 1))[1:]

    def reset_state(self, state):
        state.clear()

    def _logits(self, state, rows, columns):
        import torch

        found = torch.full((1, 1, *state["size"][1:]), -1.0)
        found[0, 0, rows, columns] = 1.0
        return 0, [1], found


def test_medsam2_follows_the_slices_mask_both_ways_and_prepares_an_image_once(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    file = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((7, 9, 5), np.float32), np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    made, frames_of = [], medsam2.frames_of
    monkeypatch.setattr(medsam2, "frames_of", lambda *a: made.append(1) or frames_of(*a))
    worker = medsam2.MedSam2Worker(tmp_path)
    worker._net = Followed()
    monkeypatch.setattr(worker, "_build", lambda job: None)
    job = {"image": str(file), "device": "cuda", "modality": "ct", "clicks": []}
    job |= {"structures": [{"value": 1}], "box": {"first": [1, 2, 1], "last": [4, 6, 3]}}
    expected = np.zeros((7, 9, 5), bool)
    for n in range(5):
        expected[1:5, 2 : 7 - abs(n - 2), n] = True
    for _ in range(2):
        log = worker(job, tmp_path)
        np.testing.assert_array_equal(nib.load(tmp_path / "1.nii.gz").get_fdata() > 0, expected)
    assert len(made) == 1 and log["raw_grid"]["slice"] == 2
    assert worker._net.prompts[0][0] == 2 and worker._net.prompts[0][1]["box"].tolist() == [1, 2, 4, 6]
    assert worker._net.shown == [(5, 3, 512, 512)] * 4  # once for each direction
