"""A bad case is a row, a damaged file is made anew, a number is never replaced by an absence."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from umdlib import evaluation, files, segmenters
from umdlib.__main__ import main
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import store
from umdlib.evaluation.plans import Plan, Settings
from umdlib.scores import table as scores
from umdlib.segmenters.contract import Segmenter

ONE = Settings((Plan("centre", (0,), 0),))
MODEL = """
import os, time
from umdlib.segmenters import Segmenter
def segment(image, prompt, previous=None):
    if image.unit == "SUV" and prompt.structure == "ball":
        {fault}
    return image.data > image.data.mean()
MINE = Segmenter("mine", "Mine", "bright voxels", lambda device: segment, frozenset({{"click"}}))
"""


@pytest.fixture
def bright():
    """A registered segmenter of bright voxels that counts its calls."""
    calls = []

    def segment(image, prompt, previous=None):
        calls.append(prompt.structure)
        return image.data > image.data.mean()

    segmenters.register(Segmenter("bright", "B", "B.", lambda device: segment, frozenset({"click"})))
    return calls


def test_a_truncated_image_is_a_failed_case_and_the_others_go_on(make_cohort, bright, tmp_path):
    cohort = read_cohort(make_cohort(2))
    content = cohort.cases[1].image.read_bytes()
    cohort.cases[1].image.write_bytes(content[: len(content) // 2])
    lines = []
    table = evaluation.score_cohort(cohort, "bright", tmp_path, settings=ONE, report=lines.append)
    states = table.groupby(["subject", "modality"])["status"].agg(set).to_dict()
    assert states.pop(("sub-001", "PET")) == {"failed"}
    assert all(found == {"ok"} for found in states.values())
    reasons = table.loc[table["status"].eq("failed"), "reason"]
    assert reasons.str.contains("truncated").all()
    assert not reasons.str.contains(str(tmp_path)).any()  # the table is handed on, the folder is not
    cohort.cases[1].image.write_bytes(content)
    again = evaluation.score_cohort(read_cohort(cohort.manifest), "bright", tmp_path, settings=ONE)
    assert again["status"].eq("ok").all()


def test_a_segmenter_that_writes_into_its_image_harms_no_other_and_is_named(make_cohort, bright, tmp_path):
    cohort = read_cohort(make_cohort(1))

    def blank(image, prompt, previous=None):
        mask = image.data > image.data.mean()
        image.data[:] = 0
        return mask

    segmenters.register(Segmenter("blank", "B", "B.", lambda device: blank, frozenset({"click"})))
    lines = []
    both = evaluation.score_cohort(
        cohort, ["blank", "bright"], tmp_path / "a", settings=ONE, report=lines.append
    )
    alone = evaluation.score_cohort(cohort, "bright", tmp_path / "b", settings=ONE)
    after = both[both["segmenter"].eq("bright")]
    np.testing.assert_array_equal(after["dice"], alone["dice"])
    for case in cohort.cases:
        measured = [
            pd.read_parquet(store.case_folder(tmp_path / run, "bright", case) / "quantities.parquet")
            for run in "ab"
        ]
        pd.testing.assert_frame_equal(*measured)
    named = [line for line in lines if "it wrote into the image that it was given" in line]
    assert [line.split(":")[0] for line in named] == [f"blank {c.name}" for c in cohort.cases]


def test_references_and_images_are_read_once_for_all_segmenters(make_cohort, tmp_path, monkeypatch):
    from umdlib.images import volume

    read = []
    for name in ("read_volume", "read_label_map"):
        real = getattr(volume, name)
        monkeypatch.setattr(
            volume, name, lambda path, real=real, **more: (read.append(str(path)), real(path, **more))[1]
        )
    cohort = read_cohort(make_cohort(1))
    evaluation.score_cohort(cohort, ["threshold", "region_growing"], tmp_path, settings=ONE)
    assert sorted(read) == sorted(str(f) for c in cohort.cases for f in (c.image, c.reference))
    read.clear()
    lines = []
    evaluation.score_cohort(
        cohort, ["threshold", "region_growing"], tmp_path, settings=ONE, report=lines.append
    )
    assert not read
    assert [" kept " in line for line in lines] == [True] * 4


def test_a_damaged_prediction_is_made_anew_with_a_word(make_cohort, bright, tmp_path):
    cohort = read_cohort(make_cohort(1))
    first = evaluation.score_cohort(cohort, "bright", tmp_path, settings=ONE)
    folder = store.case_folder(tmp_path, "bright", cohort.cases[0])
    for name in (store.prediction_file("centre", 0, 0), "prompts.json", "scores.parquet"):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        if name != "scores.parquet":
            read = store.read_prompts if name == "prompts.json" else store.read_prediction
            with pytest.raises(InputError, match="damaged"):
                read(tmp_path, "bright", cohort.cases[0])
        bright.clear()
        lines = []
        again = evaluation.score_cohort(cohort, "bright", tmp_path, settings=ONE, report=lines.append)
        assert len(bright) == 2 and "made anew" in lines[0], name
        assert again["dice"].equals(first["dice"])


def test_every_flipped_bit_of_a_score_table_is_seen(make_cohort, bright, tmp_path):
    cohort = read_cohort(make_cohort(1))
    evaluation.score_cohort(cohort, "bright", tmp_path, settings=ONE)
    path = store.case_folder(tmp_path, "bright", cohort.cases[0]) / "scores.parquet"
    content, whole = path.read_bytes(), scores.read_scores(path)
    mark = content.rfind(files._MARK)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        if mark <= place < mark + len(files._MARK):  # no value stands there
            assert scores.read_scores(path).equals(whole)
            continue
        with pytest.raises(InputError):
            scores.read_scores(path)


def test_a_damaged_table_of_quantities_is_made_anew(make_cohort, tmp_path):
    call = [
        "score",
        str(make_cohort(1)),
        "--segmenters",
        "threshold",
        "--out",
        str(tmp_path),
        "--prompts",
        "centre",
    ]
    assert main(call) == 0
    path = next(tmp_path.glob("cases/threshold/*/quantities.parquet"))
    content = path.read_bytes()
    for place in np.linspace(40, len(content) - 900, 4).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert main(call) == 0
        assert path.read_bytes() == content, place


@pytest.mark.parametrize("device", ["gpu", "CUDA", "mps", "cpu:0", "auto", "cuda:99", "cuda:abc", "cuda:-1"])
def test_a_device_that_is_none_ends_the_command_before_anything_starts(device, make_cohort, tmp_path, capsys):
    call = ["score", str(make_cohort(1)), "--segmenters", "threshold", "--out", str(tmp_path / "run")]
    assert main([*call, "--device", device]) == 2
    assert f"evice '{device}'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_scored_rows_outlive_a_run_in_which_their_segmenter_is_unavailable(make_cohort, tmp_path):
    manifest, file = make_cohort(1), tmp_path / "model.py"
    file.write_text(MODEL.format(fault="pass"))
    run = tmp_path / "run"
    call = ["score", str(manifest), "--segmenters", f"{file}:MINE", "--out", str(run), "--prompts", "centre"]
    assert main(call) == 0
    before = scores.read_scores(run / "scores.parquet")
    record = segmenters.get("mine")
    segmenters.registry._registered.clear()
    absent = Segmenter(**{**vars(record), "packages": ("no_such_package_here",)})
    segmenters.register(absent)
    assert main([*call[:3], "mine", *call[4:]]) == 0
    after = scores.read_scores(run / "scores.parquet")
    assert after["dice"].equals(before["dice"]) and after["status"].eq("ok").all()
    assert main([*call[:3], "mine", *call[4:6], "--out", str(tmp_path / "other"), "--prompts", "centre"]) == 1


def test_cases_without_a_number_do_not_replace_those_with_one(make_cohort, bright, tmp_path):
    cohort = read_cohort(make_cohort(2))
    table = evaluation.score_cohort(cohort, "bright", tmp_path / "run", settings=ONE)
    path = tmp_path / "part.parquet"
    scores.add_cases(path, table)
    absent = table.assign(status="unavailable", reason="no weights")
    absent.loc[:, [c for c in table if table[c].dtype == float]] = np.nan
    absent.attrs = dict(table.attrs)
    scores.add_cases(path, absent)
    assert scores.read_scores(path)["dice"].equals(table["dice"])


def test_a_damaged_part_is_made_anew_from_the_kept_cases(make_cohort, tmp_path, capsys):
    manifest = make_cohort(2)
    call = [
        "score",
        str(manifest),
        "--segmenters",
        "threshold",
        "--out",
        str(tmp_path),
        "--prompts",
        "centre",
    ]
    assert main(call) == 0
    whole = scores.read_scores(tmp_path / "scores.parquet")
    part = tmp_path / "parts" / "threshold.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    assert main([*call, "--subjects", "sub-001"]) == 0
    assert "made anew from the cases that are kept" in capsys.readouterr().out
    assert scores.read_scores(tmp_path / "scores.parquet")["dice"].equals(whole["dice"])


def test_an_image_that_is_exchanged_while_the_run_reads_it_is_a_failed_case(make_cohort, tmp_path):
    cohort = read_cohort(make_cohort(1))
    other = cohort.cases[1].image

    def segment(image, prompt, previous=None):
        os.utime(other, (1, 1))
        return image.data > 0

    segmenters.register(Segmenter("meddling", "M", "M.", lambda device: segment, frozenset({"click"})))
    table = evaluation.score_cohort(cohort, ["meddling", "threshold"], tmp_path, settings=ONE)
    assert set(table.groupby("segmenter")["status"].agg(lambda s: " ".join(sorted(set(s))))) == {"failed ok"}
    rows = table.set_index("modality")
    assert set(rows.loc["CT", "status"]) == {"ok"} and set(rows.loc["PET", "status"]) == {"failed"}
    assert rows.loc["PET", "reason"].str.contains("was changed while the run read it").all()


def test_the_run_of_another_cohort_is_refused_and_that_of_a_moved_one_is_not(make_cohort, bright, tmp_path):
    mine = read_cohort(make_cohort(1, tmp_path / "a" / "cohort"))
    evaluation.score_cohort(mine, "bright", tmp_path / "run", settings=ONE)
    theirs = read_cohort(make_cohort(2, tmp_path / "b" / "cohort"))
    with pytest.raises(InputError, match="holds the run of another cohort, .*/a/cohort/manifest.tsv"):
        evaluation.score_cohort(theirs, "bright", tmp_path / "run", settings=ONE)
    (tmp_path / "a").rename(tmp_path / "moved")
    moved, lines = read_cohort(tmp_path / "moved" / "cohort" / "manifest.tsv"), []
    evaluation.score_cohort(moved, "bright", tmp_path / "run", settings=ONE, report=lines.append)
    assert [" kept " in line for line in lines] == [True] * 2
    make_cohort(2, tmp_path / "moved" / "cohort")  # the same manifest may grow
    assert (
        len(evaluation.score_cohort(read_cohort(moved.manifest), "bright", tmp_path / "run", settings=ONE))
        == 8
    )


def test_scoring_anew_renews_the_parts_too(make_cohort, tmp_path):
    manifest, run = make_cohort(2), tmp_path / "run"
    call = ["score", str(manifest), "--segmenters", "threshold", "--out", str(run), "--prompts", "centre"]
    assert main(call) == 0
    assert main(["rescore", str(manifest), "--out", str(run), "--tolerances", "2"]) == 0
    anew = scores.read_scores(run / "scores.parquet")
    assert scores.read_scores(run / "parts" / "threshold.parquet").equals(anew)
    assert main([*call, "--tolerances", "2", "--subjects", "sub-001"]) == 0  # the rest is kept from the part
    assert scores.read_scores(run / "scores.parquet")["surface_dice_2mm"].equals(anew["surface_dice_2mm"])


def test_a_command_that_is_terminated_says_so_and_resumes(make_cohort, tmp_path, capsys):
    def segment(image, prompt, previous=None):
        if image.unit == "SUV" and calls.append(1) is None and len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return image.data > 0

    calls, before = [], signal.getsignal(signal.SIGTERM)
    segmenters.register(Segmenter("ended", "E", "E.", lambda device: segment, frozenset({"click"})))
    call = ["score", str(make_cohort(1)), "--segmenters", "ended", "--out", str(tmp_path / "run")]
    assert main(call) == 143
    assert "umdlib: terminated. What was finished is kept" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert main(call) == 0
    assert capsys.readouterr().out.count(" kept ") == 1


def score(manifest, file, out, *options):
    """Words of the command."""
    given = ["score", str(manifest), "--segmenters", f"{file}:MINE", "--prompts", "centre"]
    return [*given, "--out", str(out), *options]


@pytest.mark.skipif(sys.platform != "linux", reason="processes and signals as Linux has them")
def test_a_crash_leaves_its_trace_and_the_next_run_goes_past_it(make_cohort, tmp_path):
    file = tmp_path / "model.py"
    file.write_text(MODEL.format(fault="os.abort()"))
    manifest = make_cohort(2)
    command = [sys.executable, "-m", "umdlib", *score(manifest, file, tmp_path / "run")]
    for crashed in ("sub-001", "sub-002"):
        assert subprocess.run(command, capture_output=True, check=False).returncode < 0, crashed
    assert main(command[3:]) == 1
    table = scores.read_scores(tmp_path / "run" / "scores.parquet")
    states = table.groupby(["subject", "modality"])["status"].agg(set)
    assert (
        states[:, "CT"].map(lambda s: s == {"ok"}).all()
        and states[:, "PET"].map(lambda s: s == {"failed"}).all()
    )
    assert table.loc[table["status"].eq("failed"), "reason"].str.contains("Fatal Python error: Aborted").all()


@pytest.mark.skipif(sys.platform != "linux", reason="processes and signals as Linux has them")
@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        ("os.abort()", ["--isolate"], "ended by SIGABRT"),
        ("time.sleep(99)", ["--time-limit", "2"], "took over 2 s"),
        (
            "[bytearray(100_000_000) for n in range(99) if time.sleep(0.1) is None]",
            ["--memory-limit", "1500"],
            "1500 MB",
        ),
    ],
)
def test_in_a_process_of_its_own_what_misbehaves_ends_one_case(
    make_cohort, tmp_path, capsys, fault, options, reason
):
    file = tmp_path / "model.py"
    file.write_text(MODEL.format(fault=fault))
    words = score(make_cohort(1), file, tmp_path / "run", *options)
    assert main(words) == 1
    table = scores.read_scores(tmp_path / "run" / "scores.parquet").set_index(["modality", "structure"])
    assert table.loc["CT", "status"].eq("ok").all(), capsys.readouterr().out
    assert table.loc["PET", "status"].eq("failed").all()
    assert reason in table.loc[("PET", "ball"), "reason"]
    assert table.loc[("PET", "rod"), "reason"].startswith("not asked: ")
    capsys.readouterr()
    assert main(words) == 1  # a retry is the user's choice
    assert capsys.readouterr().out.count(" kept ") == 2


def test_hashes_are_kept_with_size_and_time(tmp_path, monkeypatch):
    file, path = tmp_path / "image.nii", tmp_path / "run" / "hashes.json"
    path.parent.mkdir()
    file.write_text("one")
    os.utime(file, (1_000_000, 1_000_000))
    first = store.FileHashes(path)
    digest = first(file)
    first.keep()
    monkeypatch.setattr(store, "file_hash", lambda f: pytest.fail("it was read again"))
    assert store.FileHashes(path)(file) == digest
    monkeypatch.undo()
    file.write_text("two")
    os.utime(file, (1_000_001, 1_000_001))
    assert store.FileHashes(path)(file) != digest
    with pytest.raises(InputError, match="was changed while the run read it"):
        first.check(file)
    path.write_text("{")
    assert store.FileHashes(path)(file) != digest


def test_a_segmenter_of_this_process_alone_cannot_be_isolated(make_cohort, bright, tmp_path):
    limits = evaluation.Limits(isolate=True)
    with pytest.raises(InputError, match="registered in this process alone"):
        evaluation.score_cohort(read_cohort(make_cohort(1)), "bright", tmp_path, limits=limits)


def test_prompts_are_drawn_once_a_run(make_cohort, bright, tmp_path, monkeypatch):
    from umdlib.evaluation import plans

    cohort = read_cohort(make_cohort(1))
    evaluation.score_cohort(cohort, "bright", tmp_path, settings=ONE)
    monkeypatch.setattr(plans.prompts, "pair_prompts", lambda *a, **k: pytest.fail("drawn again"))
    table = evaluation.score_cohort(cohort, "threshold", tmp_path, settings=ONE)
    assert len(table) == 4
    monkeypatch.undo()
    path = tmp_path / "prompts" / "sub-001_petct.json"
    content = json.loads(path.read_text())
    next(iter(content["drawn"].values()))["ball"]["clicks"][0]["xyz_mm"][0] += 1
    path.write_text(json.dumps(content))  # damaged: drawn anew, not believed
    again = evaluation.score_cohort(cohort, "region_growing", tmp_path, settings=ONE)
    assert len(again) == 4
    assert store.read_prompts(tmp_path, "region_growing", cohort.cases[0]) == store.read_prompts(
        tmp_path, "bright", cohort.cases[0]
    )
