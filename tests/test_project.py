"""The project's own files: notebooks without outputs, a lock that pins, pages that exist."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def cells(request):
    return json.loads(request.param.read_text())["cells"]


def test_notebook_is_committed_without_outputs(cells):
    for cell in cells:
        assert not cell.get("outputs") and not cell.get("execution_count")


def test_notebook_opens_with_a_title_and_declares_typed_parameters(cells):
    assert "".join(cells[0]["source"]).startswith("# ")
    declared = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    assert len(declared) == 1
    for line in "".join(declared[0]["source"]).splitlines():
        assert re.match(r"^\w+: (str|int|float|bool|list|dict)\b.* = .+  # .+", line), line


def test_cells_are_short(cells):
    lengths = sorted(
        len("".join(c["source"]).splitlines())
        for c in cells
        if c["cell_type"] == "code" and not {"hide-input", "parameters"} & set(c["metadata"].get("tags", []))
    )
    assert not lengths or lengths[len(lengths) // 2] <= 12


def test_lock_pins_every_package_with_hashes_and_names_no_host():
    assert "://" not in LOCK
    assert "index-url" not in LOCK
    pins = re.findall(r"^[a-z0-9][a-z0-9._-]*==\S+", LOCK, re.M)
    assert len(pins) > 200
    assert LOCK.count("--hash=sha256:") > len(pins)


def test_environment_names_the_packages_that_are_locked():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    for line in listed:
        if line.startswith("-e"):
            continue
        name, _, version = line.partition("==")
        name = name.partition("[")[0]
        pinned = re.search(rf"^{re.escape(name)}==(\S+)", LOCK, re.M)
        assert pinned, name
        assert metadata.version(name) == pinned[1]
        assert not version or version == pinned[1]


def test_every_page_of_the_contents_has_a_source():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    files = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    templates = {p.stem for p in NOTEBOOKS}
    for file in files:
        folder, _, stem = file.rpartition("/")
        if folder == "results":
            assert stem in templates or stem.rpartition("_")[0] in templates, file
        else:
            assert (ROOT / "book" / f"{file}.md").is_file(), file


def test_every_chapter_is_in_the_contents():
    toc = (ROOT / "book" / "_toc.yml").read_text()
    for path in NOTEBOOKS:
        if path.stem not in ("inference", "explore", "train"):
            assert f"results/{path.stem}" in toc, path.stem


def test_profiles_know_the_same_settings():
    small, default = (
        yaml.safe_load((ROOT / "workflow" / f"{n}.yaml").read_text()) for n in ("small", "default")
    )
    assert small.keys() == default.keys()


def test_the_graph_runs_again_what_a_changed_setting_concerns():
    """Snakemake compares a job's parameters, not the settings that its command reads by itself."""
    assert re.findall(r"\{config\[\w+", (ROOT / "workflow" / "Snakefile").read_text()) == []


def test_one_job_at_a_time_uses_a_gpu_of_this_machine():
    """A resource without a limit limits nothing: on 32 cores every inference job began on one GPU."""
    profile = yaml.safe_load((ROOT / "workflow" / "profiles" / "default" / "config.yaml").read_text())
    assert profile == {"resources": "gpu=1"}
    snakefile = (ROOT / "workflow" / "Snakefile").read_text()
    assert re.search(r'^resource_scopes:\n    gpu="local",$', snakefile, re.M)
    users = [r for r in snakefile.split("\nrule ")[1:] if "{DEVICE}" in r or "device=DEVICE" in r]
    assert len(users) >= 4
    assert all(re.search(r"\bgpu=", r) for r in users)


def graph_of(cohort: Path, segmenters: str) -> subprocess.CompletedProcess:
    """The jobs and commands of a book of one's own, without running any."""
    pytest.importorskip("snakemake")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "book",
            "--snakefile",
            "workflow/Snakefile",
            "--dry-run",
            "--printshellcmds",
            "--cores",
            "1",
            "--configfile",
            "workflow/small.yaml",
            "--config",
            f"cohort={cohort}",
            f"segmenters={segmenters}",
            "device=cuda",
            "--workflow-profile",
            "workflow/slurm",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_graph_takes_a_cohort_and_a_segmenter_from_anywhere(make_cohort, tmp_path):
    model = tmp_path / "model.py"
    model.write_text("MINE = None")
    done = graph_of(make_cohort(1, tmp_path / "my cohort"), f"{model}:MINE,threshold")
    assert done.returncode == 0, done.stdout[-2000:]
    assert re.search(r"--name [^-\s]\S*-model\.py-MINE_petct_0 ", done.stdout)
    # nobody asked for other cohorts and networks, and what uses no GPU claims none
    assert not re.search(r"rule (cohort|domains|domain_scores|curve|seeds|live):", done.stdout)
    jobs = [job for job in done.stdout.split("\nrule ") if job.startswith("inference:")]
    gpus = {"threshold" in job: re.search(r"gpu=(\d)", job)[1] for job in jobs}
    assert gpus == {True: "0", False: "1"}
    assert all(("-p device cuda" in job) != ("segmenter threshold" in job) for job in jobs)


def test_two_segmenters_of_one_file_name_are_refused(make_cohort):
    done = graph_of(make_cohort(1), "a/m.py:MINE,a-m.py:MINE")
    assert done.returncode != 0
    assert "differ in marks alone" in done.stdout + done.stderr
