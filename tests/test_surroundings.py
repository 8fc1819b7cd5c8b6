"""Commands and kernels where there is no home, and in the locales of bare containers."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from umdlib.scores.table import read_scores

# One process for all commands: starting Python is what costs.
SCRIPT = """
import locale, sys
from umdlib.__main__ import main
manifest, run, page = sys.argv[1:]
assert locale.getpreferredencoding(False).lower() in ("ansi_x3.4-1968", "us-ascii"), locale.getpreferredencoding(False)
assert main(["check", manifest]) in (0, 1)
assert main(["score", manifest, "--segmenters", "threshold", "--prompts", "centre", "--out", run]) == 0
assert main(["quantities", manifest, "--out", run]) == 0
if page:
    assert main(["run", page, "--out", "pages", "--name", "page"]) == 0
"""
PAGE = """
import locale, os
import matplotlib.pyplot as plt
from umdlib import files
with open("bäll.txt", "w") as file:
    file.write("Bäll 球")
print(open("bäll.txt").read())
plt.plot([1, 2]);
"""
# PYTHONCOERCECLOCALE and PYTHONUTF8 as before Python 3.7, and where a site sets them
BARE = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="locales and folders as Linux has them")
@pytest.mark.parametrize(
    ("surroundings", "with_page"),
    [
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "POSIX", "HOME": "/proc/nowhere"}, True),
        ({"LANG": "xx_XX.ISO-8859-15", "HOME": "/dev/null"}, False),
    ],
    ids=["no home, C", "unwritable home, POSIX", "home is no folder, unknown locale"],
)
def test_commands_and_kernels_need_no_home_and_no_locale(surroundings, with_page, make_cohort, tmp_path):
    manifest, run = make_cohort(1, tmp_path / "Köhörte"), tmp_path / "Läufe"
    dseg = manifest.with_name("dseg.tsv")
    dseg.write_text(dseg.read_text("utf-8").replace("Ball", "Bäll"), "utf-8")
    page = tmp_path / "page.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    document.cells = [nbformat.v4.new_code_cell(PAGE, id="c")]
    nbformat.write(document, page)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "XDG_")) and k != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(manifest), str(run), str(page) if with_page else ""],
        env=kept | BARE | surroundings,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("ascii")  # all that such a terminal has
    assert done.returncode == 0, said[-3000:]
    assert "Traceback" not in said
    assert set(read_scores(run / "scores.parquet")["status"]) == {"ok"}
    if with_page:
        outputs = json.loads((tmp_path / "pages" / "page.ipynb").read_text("utf-8"))["cells"][0]["outputs"]
        assert any("image/png" in o.get("data", {}) for o in outputs)
        shown = "".join("".join(o.get("text", "")) for o in outputs if o["output_type"] == "stream")
        assert shown == "Bäll 球\n"  # and no word of a folder that could not be made
