"""A few of the faults that `benchmarks/faults.py` plants: nothing is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes and file systems as Linux has them")
def test_no_planted_fault_loses_a_result(tmp_path):
    out = tmp_path / "faults.json"
    words = ["--trials", "2", "--graph", "0", "--segmenters", "threshold", "--out"]
    done = subprocess.run([sys.executable, SCRIPT, *words, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {r["fault"]: r for r in json.loads(out.read_text("utf-8"))["faults"]}
    assert all(r["tried"] == r["equal in the end"] > 0 for r in rows.values())
    for fault in ("a disk that fills", "a folder that cannot be written"):
        assert rows[fault]["struck"] == rows[fault]["with a sentence"] > 0, rows[fault]


def test_results_are_added_up_or_replaced_and_untried_faults_keep_their_row(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    with_former = __import__("faults").with_former
    before = [{"fault": "a", "tried": 6, "lost": 1}, {"fault": "b", "tried": 5, "lost": 0}]
    now = [{"fault": "a", "tried": 4, "lost": 0}]
    assert with_former(now, before, add=True) == [{"fault": "a", "tried": 10, "lost": 1}, before[1]]
    assert with_former(now, before, add=False) == [now[0], before[1]]
