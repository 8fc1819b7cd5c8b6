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
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--trials", "2", "--graph", "0", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {r["fault"]: r for r in json.loads(out.read_text("utf-8"))["faults"]}
    assert all(r["tried"] == r["equal in the end"] > 0 for r in rows.values())
    for fault in ("a disk that fills", "a folder that cannot be written"):
        assert rows[fault]["struck"] == rows[fault]["with a sentence"] > 0, rows[fault]
