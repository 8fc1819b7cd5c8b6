"""The lock of a run: removed where its run is certainly over, kept in every other case."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from umdlib.files import owner

SCRIPT = Path(__file__).parents[2] / "workflow" / "build.py"


@pytest.fixture
def build(tmp_path, monkeypatch):
    """The script in a folder with a lock."""
    spec = importlib.util.spec_from_file_location("workflow_build", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    module.LOCKS.mkdir(parents=True)
    (module.LOCKS / "0.input.lock").touch()
    return module


def signed(build, **changes):
    build.SIGN.write_text(json.dumps(owner() | {"seen": 0.0} | changes))


def dead_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_the_lock_of_a_dead_process_is_removed(build):
    signed(build, pid=dead_process())
    build.unlock()
    assert not any(build.LOCKS.iterdir())


def test_the_lock_of_a_living_process_stays(build):
    signed(build)
    with pytest.raises(SystemExit, match="Another run is at work here"):
        build.unlock()
    assert any(build.LOCKS.iterdir())


def test_a_process_that_took_over_the_number_of_a_dead_one_is_not_the_run(build):
    signed(build, started=1.0)
    build.unlock()
    assert not any(build.LOCKS.iterdir())


@pytest.mark.parametrize("change", [{"host": "other"}, {"pids": "pid:[1]"}, {"boot": "before"}])
def test_a_lock_from_elsewhere_stays_although_no_such_process_is_here(build, change):
    signed(build, pid=dead_process(), **change)
    with pytest.raises(SystemExit, match="cannot be seen whether it lives"):
        build.unlock()
    assert any(build.LOCKS.iterdir())


def test_a_lock_without_a_sign_stays(build):
    with pytest.raises(SystemExit, match="did not sign"):
        build.unlock()


def test_a_run_signs_while_it_lives_and_ends_with_the_status_of_the_graph(build, monkeypatch):
    for lock in build.LOCKS.iterdir():
        lock.unlink()
    monkeypatch.setattr(sys, "executable", "/bin/false" if os.path.exists("/bin/false") else "/usr/bin/false")
    assert build.main(["book"]) == 1
    assert not build.SIGN.exists()
