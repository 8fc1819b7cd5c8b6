"""The facade: what `import umdlib as umd` offers, and what it loads."""

import importlib
import subprocess
import sys

import umdlib as umd


def test_the_facade_is_what_dir_lists_and_every_name_is_there():
    assert dir(umd) == sorted(umd.__all__)
    for name in umd.__all__:
        assert getattr(umd, name) is not None


def test_each_name_is_defined_in_the_module_that_the_facade_says():
    for name in set(umd.__all__) - {"__version__"}:
        value = getattr(umd, name)
        assert getattr(importlib.import_module(value.__module__), name) is value


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, umdlib as umd; dir(umd); umd.InputError; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not loaded & {"numpy", "pandas", "numba", "torch", "matplotlib", "scipy", "nibabel"}
