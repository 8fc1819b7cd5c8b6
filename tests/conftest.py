"""Small cohorts drawn by hand: known anatomy on two grids, seconds to score."""

import contextlib
import os
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from umdlib.cohort.manifest import write_manifest, write_structures
from umdlib.images.volume import LabelMap, Volume, write_label_map, write_volume
from umdlib.labels import Structure
from umdlib.segmenters import registry
from umdlib.tables import use_titles

# A machine with other work is slow, and no fault of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

BALL = Structure(1, "ball", "Ball", "Ba", "#e69f00")
ROD = Structure(4, "rod", "Rod", "Ro", "#56b4e9")

CT_AFFINE = np.array([[-2.0, 0, 0, 60], [0, 2.0, 0, -50], [0, 0, 3.0, -40], [0, 0, 0, 1]])
CT_SHAPE = (60, 50, 28)
PET_AFFINE = np.array([[4.0, 0, 0, -58], [0, 4.0, 0, -52], [0, 0, 4.0, -42], [0, 0, 0, 1]])
PET_SHAPE = (30, 26, 22)


def world_grid(affine, shape):
    ijk = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return ijk @ affine[:3, :3].T + affine[:3, 3]


def drawn_labels(affine, shape, shift=0.0):
    """A ball of radius 18 mm at (-20, 0, 0) and a rod of radius 8 mm around x = 25 mm."""
    x, y, z = np.moveaxis(world_grid(affine, shape), -1, 0)
    data = np.zeros(shape, np.uint8)
    data[(x + 20 - shift) ** 2 + y**2 + z**2 < 18**2] = BALL.value
    data[((x - 25) ** 2 + y**2 < 8**2) & (abs(z) < 25)] = ROD.value
    return data


# Files of twenty seconds or more, the longest first: two processes then end together.
LONG = [
    "umdbook/test_pages.py",
    "training/test_nnunet.py",
    "umdbook/test_kinds.py",
    "umdbook/test_lab.py",
    "synthetic/test_cohort.py",
    "benchmarks/test_faults.py",
    "training/test_promptable.py",
    "segmenters/test_systems.py",
    "viewer/test_live.py",
    "workflow/test_slurm.py",
    "workflow/test_partial_scores.py",
    "synthetic/test_simulation.py",
    "umdbook/test_chapters.py",
    "cohort/test_dicom.py",
    "evaluation/test_faults.py",
    "statistics/test_operating_characteristics.py",
    "cohort/test_checks.py",
    "canaries/test_replay.py",
    "viewer/test_browser_networks.py",
    "segmenters/test_sam_med3d_small.py",
    "canaries/test_checks.py",
    "training/test_domains.py",
]


def pytest_collection_modifyitems(items):
    """Long files first, examples of docstrings last; nothing moves within a file."""

    def rank(item):
        place = "/".join(item.path.parts[-2:])
        return LONG.index(place) if place in LONG else len(LONG) + ("tests" not in item.path.parts)

    items.sort(key=rank)


@contextlib.contextmanager
def _as_before():
    """The style that is set within, the titles of segmenters and the segmenters registered end with it."""
    records = registry._registered
    before = dict(records)
    with mpl.rc_context():
        yield
    records.clear()
    records.update(before)
    use_titles(None)


@pytest.fixture(autouse=True)
def as_before():
    """What a test sets for the whole process ends with it."""
    with _as_before():
        yield


@pytest.fixture(autouse=True, scope="module")
def module_as_before():
    """What a file's fixtures set for the whole process ends with the file."""
    with _as_before():
        yield


def _write_cohort(folder, subjects=2):
    """Write `subjects` paired PET/CT subjects; return the manifest."""
    root = Path(folder)
    rows = []
    for number in range(1, subjects + 1):
        rng = np.random.default_rng(number)
        for modality, affine, shape, unit, means in (
            ("CT", CT_AFFINE, CT_SHAPE, "HU", (-100, 60, 90)),
            ("PET", PET_AFFINE, PET_SHAPE, "SUV", (0.3, 5.0, 3.0)),
        ):
            labels = drawn_labels(affine, shape, shift=number)
            spread = 0.05 * abs(means[1])
            image = np.choose(np.searchsorted([0, 1, 4], labels), means)
            image = (image + rng.normal(0, spread, shape)).astype(np.float32)
            base = f"sub-{number:03d}_{modality}"
            write_volume(root / f"{base}.nii.gz", Volume(image, affine, unit))
            write_label_map(root / f"{base}_dseg.nii.gz", LabelMap(labels, affine))
            rows.append(
                {
                    "subject": f"sub-{number:03d}",
                    "session": "petct",
                    "modality": modality,
                    "image": f"{base}.nii.gz",
                    "reference": f"{base}_dseg.nii.gz",
                    "unit": unit,
                }
            )
    write_structures(root / "dseg.tsv", (BALL, ROD))
    return write_manifest(root / "manifest.tsv", rows)


@pytest.fixture(scope="session")
def write_cohort(tmp_path_factory):
    """Function (folder, subjects) that writes a cohort of paired PET/CT subjects and returns its manifest."""
    drawn = {}

    def write(folder, subjects=2):
        if subjects not in drawn:
            drawn[subjects] = _write_cohort(tmp_path_factory.mktemp("drawn"), subjects).parent
        shutil.copytree(drawn[subjects], folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
        return Path(folder) / "manifest.tsv"

    return write


@pytest.fixture
def make_cohort(tmp_path, write_cohort):
    """Function that writes a cohort of `subjects` paired PET/CT subjects and returns its manifest."""

    def make(subjects=2, folder=None):
        return write_cohort(folder or tmp_path / "cohort", subjects)

    return make


@pytest.fixture
def torchrun(monkeypatch):
    """Context in which this process is the only one that torchrun has started."""

    @contextlib.contextmanager
    def alone():
        import torch

        started = {
            "RANK": "0",
            "WORLD_SIZE": "1",
            "LOCAL_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "0",
        }
        with monkeypatch.context() as surroundings:
            for key, value in started.items():
                surroundings.setenv(key, value)
            try:
                yield
            finally:
                if torch.distributed.is_initialized():
                    torch.distributed.destroy_process_group()

    return alone


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, one for a file: Playwright's event loop must not meet another one."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None and os.environ.get("UMD_BROWSER") == "required":
        pytest.fail("no Chromium, and UMD_BROWSER=required")
    if chromium is None and not os.environ.get("CI"):  # there Playwright's own is started
        pytest.skip("no Chromium (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--enable-unsafe-swiftshader", "--disable-background-networking"]
        started = playwright.chromium.launch(executable_path=chromium, args=options)
        yield started
        started.close()


@pytest.fixture(scope="session")
def shared():
    """Folder of real data beside the checkout, or a skip."""
    folder = Path(os.environ.get("UMD_SHARED", Path(__file__).parent.parent.parent / "shared"))
    if not (folder / "real").is_dir():
        pytest.skip(f"no real data at {folder} (set UMD_SHARED)")
    return folder
