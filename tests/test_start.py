"""Start-up: a module loads what it computes with when it computes, so that a command starts at once."""

import subprocess
import sys

import pytest

TABLES = {"pandas", "pyarrow"}
IMAGES = {"nibabel", "pydicom", "scipy.ndimage", "skimage", "numba", "SimpleITK"}
STATISTICS = {"scipy.stats", "scipy.optimize", "statsmodels"}
PICTURES = {"matplotlib", "seaborn", "PIL", "IPython"}
EVERYTHING = TABLES | IMAGES | STATISTICS | PICTURES | {"numpy", "scipy", "torch"}

ALLOWED = {
    "umdlib.__main__": set(),
    "umdlib.cohort, umdlib.metrics, umdlib.segmenters, umdlib.statistics, umdlib.viewer": set(),
    "umdlib.images.volume, umdlib.cohort.manifest, umdlib.metrics.scoring, umdlib.metrics.masks": {
        "numpy",
        "scipy",
    },
    "umdlib.segmenters.registry, umdlib.segmenters.contract, umdlib.prompts.drawing": {"numpy", "scipy"},
    "umdlib.statistics.comparison, umdlib.statistics.hurdle, umdlib.evaluation.run": {
        "numpy",
        "scipy",
        *TABLES,
    },
}


@pytest.mark.parametrize("modules", ALLOWED)
def test_an_import_loads_nothing_that_only_its_functions_need(modules):
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(loaded.split()) & EVERYTHING <= ALLOWED[modules]


@pytest.mark.parametrize(
    "words", [["--help"], ["check", "--help"], ["score", "--help"], ["import", "--help"]]
)
def test_help_of_a_command_loads_no_library(words):
    code = (
        "import sys, contextlib\nfrom umdlib.__main__ import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({words!r})\n"
        "print('loaded', *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(out.rpartition("loaded")[2].split()) & EVERYTHING


def test_a_clicknet_is_loaded_without_monai():
    """MONAI takes seven CPU seconds to import; of the project's networks only SAM-Med3D's is made of its parts."""
    pytest.importorskip("torch")
    code = "import sys; from umdlib import segmenters; segmenters.load('clicknet_pet'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "monai" not in loaded.split() and "torch" in loaded.split()
