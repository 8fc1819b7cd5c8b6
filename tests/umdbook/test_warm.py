"""Notebooks in processes forked from a warm one: same result, and each ends alone, whatever its cells do."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

from umdbook import build, warm
from umdlib.__main__ import main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")

KEEP_PID = "import os, pathlib, threading, time\npathlib.Path(PLACE, 'pid').write_text(str(os.getpid()))\n"


@pytest.fixture(scope="module")
def variables():
    """The environment, as it was before when the module ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(warm._PLACE, "")
        patch.setenv(warm._PLACE_OF_NETWORKS, "")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        yield patch


@pytest.fixture(scope="module")
def server(variables):
    """Place of a warm process without the packages of the chapters."""
    process = warm.start(warm.PACKAGES)
    yield os.environ[warm._PLACE]
    process.stdin.close()
    assert process.wait(300) == 0
    assert not Path(os.environ[warm._PLACE]).parent.exists()


@pytest.fixture
def run(server, tmp_path, monkeypatch):
    """Run a notebook of one cell by the command: exit status, and the copy's text where there is one."""
    monkeypatch.setenv(warm._PLACE, server)

    def run(source, *more):
        status = main(["run", template(tmp_path, source), "--out", str(tmp_path / "out"), *more])
        done = tmp_path / "out" / "page.ipynb"
        return status, json.loads(done.read_text()) if done.exists() else None

    return run


def template(folder, source):
    document = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    parameters = nbformat.v4.new_code_cell(
        "n: int = 1  # how many", id="p", metadata={"tags": ["parameters"]}
    )
    source = source.replace("PLACE", repr(str(folder)))
    document.cells = [parameters, nbformat.v4.new_code_cell(source, id="c")]
    nbformat.write(document, folder / "page.ipynb")
    return str(folder / "page.ipynb")


def gone(folder):
    """Whether the kernel that wrote its number ends within a minute."""
    pid = int((folder / "pid").read_text())
    for _ in range(600):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.1)
    return False


def test_a_notebook_is_as_it_is_from_nothing(run, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    source = (
        "import os, sys\nprint(n, __name__, sys.path[0], sys.flags.utf8_mode, sys.stdin.read())\n"
        "print(sorted(i for i in os.environ.items() if 'umd-' not in i[1] and i[0][:3] not in ('JPY', 'PYT')))\n"
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    )
    status, forked = run(source, "-p", "n", "3")
    monkeypatch.delenv(warm._PLACE)
    monkeypatch.delenv(warm._PLACE_OF_NETWORKS)
    status_alone, alone = run(source, "-p", "n", "3")
    assert status == status_alone == 0
    assert any("image/png" in o.get("data", {}) for o in forked["cells"][-1]["outputs"])
    for document in (forked, alone):
        for name in ("seconds", "cell_seconds"):
            del document["metadata"]["umd"][name]
    assert forked == alone


def test_kernels_are_forked_and_each_is_a_process_of_its_own(run, server):
    source = "import os\nprint(os.getpid(), os.getppid(), open('/proc/self/cmdline').read().split('\\0')[-2])"
    texts = [run(source)[1]["cells"][-1]["outputs"][0]["text"][0].split(" ", 2) for _ in range(2)]
    assert texts[0][0] != texts[1][0] and texts[0][1] != texts[1][1]
    assert all("warm._serve" in text[2] for text in texts)


def test_a_crash_ends_one_notebook_and_not_the_next(run, tmp_path, capfd):
    assert run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")[0] == 2
    assert "stopped: DeadKernelError" in capfd.readouterr().err
    assert (tmp_path / "out" / "page.failed.ipynb").exists()
    assert run("raise ValueError('no such organ')")[0] == 2
    assert "failed in cell 2: ValueError: no such organ" in capfd.readouterr().err
    assert run("1 + 1")[0] == 0


def test_the_death_of_the_process_above_the_kernel_is_told(run, tmp_path, capfd):
    assert run(KEEP_PID + "import signal\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)")[0] == 1
    assert "was killed" in capfd.readouterr().err
    assert gone(tmp_path)


def test_a_cell_beyond_its_minutes_fails(run, tmp_path, capfd):
    assert run(KEEP_PID + "time.sleep(600)", "--minutes", "0.03")[0] == 2
    assert "CellTimeoutError" in capfd.readouterr().err
    assert gone(tmp_path)


def test_a_thread_that_is_left_behind_holds_nothing_up(run, tmp_path):
    began = time.monotonic()
    assert run(KEEP_PID + "threading.Thread(target=time.sleep, args=(600,)).start()")[0] == 0
    assert gone(tmp_path) and time.monotonic() - began < 300


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_the_command_ends_its_kernel(server, tmp_path, monkeypatch, number):
    monkeypatch.setenv(warm._PLACE, server)
    page = template(tmp_path, KEEP_PID + "time.sleep(600)")
    command = subprocess.Popen([sys.executable, "-m", "umdlib", "run", page, "--out", str(tmp_path / "out")])
    for _ in range(600):
        if (tmp_path / "pid").exists():
            break
        time.sleep(0.1)
    time.sleep(0.2)
    command.send_signal(number)
    assert command.wait(120) != 0
    assert gone(tmp_path)


def test_cost_is_kept_where_the_graph_looks_for_it(run, tmp_path):
    run(
        "data = bytearray(300_000_000)\ndata[::4096] = b'1' * len(data[::4096])",
        "--cost",
        f"{tmp_path}/chapter_a.tsv",
    )
    table = build.job_table(tmp_path)
    assert table["job"].tolist() == ["chapter a"]
    assert 0.1 < table["seconds"][0] < 600 and 300 < table["peak MB"][0] < 900


def test_without_a_warm_process_the_command_runs_itself(tmp_path, monkeypatch):
    monkeypatch.setenv(warm._PLACE, str(tmp_path / "nobody"))
    assert warm.hand_over(["run", "x"]) is None
    monkeypatch.delenv(warm._PLACE)
    assert warm.hand_over(["run", "x"]) is None


def test_nothing_is_forked_beside_a_thread(tmp_path, monkeypatch, server):
    place = tmp_path / "own" / "warm"
    place.parent.mkdir()
    monkeypatch.setenv(warm._PLACE, str(place))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        number = listener.fileno()
        thread = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); "
        code = f"{thread}from umdbook import warm; warm._serve({number}, {str(place)!r}, ())"
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert warm.hand_over(["run", "x"]) is None
    assert process.communicate(timeout=300)[1].endswith(b"start from nothing: a package runs threads\n")


def test_temporary_files_too_deep_for_a_socket_leave_all_as_it_was(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.delenv(warm._PLACE, raising=False)
    assert warm.start() is None
    assert warm._PLACE not in os.environ and not list(deep.iterdir())


def test_a_network_in_a_forked_process_answers_as_in_any_other(tmp_path, monkeypatch, variables):
    torch = pytest.importorskip("torch")
    ask = (
        "import torch\n"
        "torch.manual_seed(0)\n"
        "with torch.inference_mode():\n"
        "    found = torch.nn.Conv3d(4, 8, 3, padding=1)(torch.rand(1, 4, 24, 24, 24)).numpy().tobytes()\n"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as the graph's jobs have it
    process = warm.start((*warm.PACKAGES, "torch"), networks=True)
    try:
        source = "import hashlib, sys\nprint('torch' in sys.modules)\n"
        source += ask + "print(torch.get_num_threads(), hashlib.sha256(found).hexdigest())"
        words = ["run", template(tmp_path, source), "--out", str(tmp_path / "out")]
        assert warm.hand_over(words, networks=True) == 0
    finally:
        process.stdin.close()
        assert process.wait(60) == 0
    document = json.loads((tmp_path / "out" / "page.ipynb").read_text())
    printed = "".join(line for output in document["cells"][-1]["outputs"] for line in output["text"])
    before, space = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    try:
        exec(ask, space)
    finally:
        torch.set_num_threads(before)
    assert printed == f"True\n1 {hashlib.sha256(space['found']).hexdigest()}\n"
