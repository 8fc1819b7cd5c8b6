"""One case, one segmenter: same click in both images, whole cases on disk, resume, faults as rows."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest

from umdlib import segmenters
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.evaluation import run as benchmark
from umdlib.evaluation import store as runs
from umdlib.evaluation.plans import Plan, Settings
from umdlib.files import owner
from umdlib.images.geometry import nearest_voxel
from umdlib.images.volume import LabelMap, write_label_map
from umdlib.scores import table as scores
from umdlib.segmenters.contract import Segmenter

ONE = Settings((Plan("centre", (0,), 0),))


class Counting:
    """A segmenter that knows the drawn ball and rod by place alone, and counts its calls."""

    def __init__(self, answer=None):
        self.calls, self.prompts = 0, []
        self.answer = answer

    def __call__(self, image, prompt, previous=None):
        self.calls += 1
        self.prompts.append(prompt)
        if self.answer is not None:
            return self.answer(image, prompt)
        grid = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1)
        world = grid @ image.affine[:3, :3].T + image.affine[:3, 3]
        last = [c for c in prompt.clicks if c.positive][-1]
        return ((world - np.array(last.xyz_mm)) ** 2).sum(-1) < 12**2


@pytest.fixture
def register():
    def make(call, name="counting", prompts=("click", "negative_click")):
        record = Segmenter(name, name.title(), "for tests", lambda device: call, frozenset(prompts))
        segmenters.register(record)
        return name

    return make


def test_both_images_of_a_subject_get_the_same_click(make_cohort, register, tmp_path):
    call = Counting()
    cohort = read_cohort(make_cohort(2))
    table = benchmark.score_cohort(cohort, register(call), tmp_path / "run", settings=ONE)
    compared = runs.compare_prompts(cohort, tmp_path / "run", "petct", "counting")
    assert len(compared) == 4
    assert compared["distance_mm"].max() == 0
    assert (table["status"] == "ok").all()
    for prompt in call.prompts:
        assert len(prompt.clicks) == 1


def test_modality_blind_segmenter_is_scored_on_each_images_own_grid(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    benchmark.score_cohort(cohort, register(Counting()), tmp_path, settings=ONE)
    for case in cohort.cases:
        masks = runs.read_prediction(tmp_path, "counting", case)
        assert masks["ball"].shape == case.read_image().shape
        click = runs.read_prompts(tmp_path, "counting", case)[0].clicks[0]
        assert masks["ball"][nearest_voxel(case.read_image().affine, click.xyz_mm, masks["ball"].shape)]


def test_second_run_predicts_nothing_and_gives_the_same_table(make_cohort, register, tmp_path):
    call = Counting()
    cohort = read_cohort(make_cohort(2))
    settings = Settings((Plan("centre", (0,), 1),))
    first = benchmark.score_cohort(cohort, register(call), tmp_path, settings=settings)
    calls = call.calls
    again = benchmark.score_cohort(cohort, "counting", tmp_path, settings=settings)
    assert call.calls == calls
    assert again.equals(first)


def test_other_tolerances_are_scored_from_the_kept_predictions(make_cohort, register, tmp_path):
    call = Counting()
    cohort = read_cohort(make_cohort(1))
    benchmark.score_cohort(cohort, register(call), tmp_path, settings=ONE)
    calls = call.calls
    other = Settings(ONE.plans, (2.0,))
    table = benchmark.score_cohort(cohort, "counting", tmp_path, settings=other)
    assert call.calls == calls
    assert "surface_dice_2mm" in table and "surface_dice_1mm" not in table


def test_kept_predictions_are_scored_without_their_segmenter(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    first = benchmark.score_cohort(
        cohort, register(Counting()), tmp_path, settings=Settings((Plan("centre", (0,), 1),))
    )
    segmenters.registry._registered.pop("counting")
    same = benchmark.rescore(cohort, tmp_path)
    assert same.equals(first)
    other = benchmark.rescore(cohort, tmp_path, tolerances_mm=(2.0,))
    assert other["dice"].equals(first["dice"])
    assert other["seconds"].equals(first["seconds"])
    assert "surface_dice_2mm" in other and "surface_dice_1mm" not in other
    assert other.attrs["stamp"]["tolerances_mm"] == [2.0]


def test_a_changed_reference_changes_the_scores_anew(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    benchmark.score_cohort(cohort, register(Counting()), tmp_path, settings=ONE)
    for case in cohort.cases:
        labels = case.read_reference()
        write_label_map(case.reference, LabelMap(labels.data * 0, labels.affine))
    assert set(benchmark.rescore(cohort, tmp_path)["status"]) == {"reference_empty"}


def test_a_run_without_predictions_cannot_be_scored_anew(make_cohort, tmp_path):
    with pytest.raises(InputError, match="No prediction"):
        benchmark.rescore(read_cohort(make_cohort(1)), tmp_path)


def test_rows_of_an_unavailable_segmenter_outlive_a_rescore(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    table = benchmark.score_cohort(cohort, register(Counting()), tmp_path, settings=ONE)
    absent = table.assign(segmenter="absent", status="unavailable", reason="no weights")
    numbers = [c for c in table if table[c].dtype == float]
    absent[numbers] = np.nan
    both = pd.concat([table, absent], ignore_index=True)
    scores.write_scores(tmp_path / "scores.parquet", both, stamp=table.attrs["stamp"])
    assert set(benchmark.rescore(cohort, tmp_path)["segmenter"]) == {"counting", "absent"}


def test_official_corrections_are_drawn_from_the_seed(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    name = register(Counting())
    given = []
    for folder, seeds in (("a", (0, 1)), ("b", (0, 1))):
        plans = Settings((Plan("official_random", seeds, 2),))
        benchmark.score_cohort(cohort, name, tmp_path / folder, settings=plans)
        given.append(runs.read_prompts(tmp_path / folder, name, cohort.cases[0]))
    assert given[0] == given[1]
    last = [p for p in given[0] if len(p.clicks) == 3]
    assert len({p.clicks for p in last}) == len(last) > 2
    centre = Settings((Plan("centre", (0,), 2),))
    benchmark.score_cohort(cohort, name, tmp_path / "c", settings=centre)
    deepest = runs.read_prompts(tmp_path / "c", name, cohort.cases[0])
    assert {p.clicks[-1] for p in last}.isdisjoint(p.clicks[-1] for p in deepest)


def test_each_segmenter_gets_the_plans_it_takes(register):
    plans = Settings(benchmark.parse_plans("centre:1:2,box_padded_5mm:2,text"))
    kinds = {
        ("click", "negative_click"): ["centre"],
        ("click", "box"): ["centre", "box_padded_5mm"],
        ("box",): ["box_padded_5mm"],
        ("class",): ["class"],
        ("class", "text"): ["text"],
    }
    for n, (prompts, protocols) in enumerate(kinds.items()):
        record = segmenters.get(register(Counting(), name=f"taking_{n}", prompts=prompts))
        assert [p.protocol for p in benchmark.taken_plans(record, plans)] == protocols


def test_changed_image_is_predicted_again_and_the_other_is_not(make_cohort, register, tmp_path):
    call = Counting()
    cohort = read_cohort(make_cohort(2))
    benchmark.score_cohort(cohort, register(call), tmp_path, settings=ONE)
    calls = call.calls
    image = cohort.cases[0].read_image()
    from umdlib.images.volume import Volume, write_volume

    write_volume(cohort.cases[0].image, Volume(image.data + 1, image.affine, "HU"))
    benchmark.score_cohort(cohort, "counting", tmp_path, settings=ONE)
    assert call.calls == calls + 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda image, prompt: 1 / 0, "ZeroDivisionError"),
        (lambda image, prompt: np.zeros(image.shape), "returned float64"),
        (lambda image, prompt: np.zeros((2, 2, 2), bool), r"\(2, 2, 2\)"),
        (lambda image, prompt: (_ for _ in ()).throw(MemoryError("no room")), "ran out of memory"),
    ],
)
def test_fault_of_a_segmenter_is_a_row_with_its_reason(make_cohort, register, tmp_path, answer, reason):
    cohort = read_cohort(make_cohort(1))
    table = benchmark.score_cohort(cohort, register(Counting(answer)), tmp_path, settings=ONE)
    assert (table["status"] == "failed").all()
    assert table["reason"].str.contains(reason).all()
    assert table["dice"].isna().all()


def test_empty_prediction_and_absent_structure_are_states(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    for case in cohort.cases:
        labels = case.read_reference()
        write_label_map(case.reference, LabelMap(labels.data * (labels.data == 1), labels.affine))
    nothing = Counting(lambda image, prompt: np.zeros(image.shape, bool))
    table = benchmark.score_cohort(cohort, register(nothing), tmp_path, settings=ONE)
    states = table.set_index(["modality", "structure"])["status"]
    assert states["CT", "ball"] == "prediction_empty"
    assert states["PET", "rod"] == "both_empty"
    assert table.set_index("structure").loc["rod", "dice"].isna().all()
    assert (table.set_index("structure").loc["ball", "dice"] == 0).all()


def test_corrective_clicks_follow_the_error_and_are_kept(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    settings = Settings((Plan("centre", (0,), 2),))
    table = benchmark.score_cohort(cohort, register(Counting()), tmp_path, settings=settings)
    assert sorted(table["step"].unique()) == [0, 1, 2]
    given = [p for p in runs.read_prompts(tmp_path, "counting", cohort.cases[0]) if p.structure == "ball"]
    assert [len(p.clicks) for p in given] == [1, 2, 3]
    assert given[2].clicks[:2] == given[1].clicks


def test_unavailable_segmenter_has_rows_and_no_number(make_cohort, tmp_path):
    record = Segmenter(
        "absent",
        "Absent",
        "needs a package",
        lambda device: None,
        frozenset({"click"}),
        packages=("no_such_package_here",),
    )
    segmenters.register(record)
    table = benchmark.score_cohort(read_cohort(make_cohort(1)), "absent", tmp_path, settings=ONE)
    assert (table["status"] == "unavailable").all()
    assert table["reason"].str.contains("no_such_package_here").all()
    assert table["dice"].isna().all()


def test_output_folder_that_cannot_be_written_is_named(make_cohort, register, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        benchmark.score_cohort(
            read_cohort(make_cohort(1)), register(Counting()), tmp_path / "file", settings=ONE
        )


def test_full_disk_ends_with_a_sentence_and_keeps_what_was_done(make_cohort, register, tmp_path, monkeypatch):
    cohort = read_cohort(make_cohort(2))
    name = register(Counting())
    real, written = scores.write_scores, []

    def write(path, table, **more):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        real(path, table, **more)

    monkeypatch.setattr(scores, "write_scores", write)
    with pytest.raises(InputError, match="No space left on device"):
        benchmark.score_cohort(cohort, name, tmp_path, settings=ONE)
    kept = sorted(p.name for p in (tmp_path / "cases" / name).iterdir())
    assert kept == ["sub-001_petct_CT", "sub-001_petct_PET"]


def test_killed_run_loses_the_case_in_hand_and_resumes(make_cohort, tmp_path):
    manifest = make_cohort(2)
    code = textwrap.dedent(
        """
        import os, signal, sys
        from umdlib.segmenters.contract import Segmenter
        calls = []
        def segment(image, prompt, previous=None):
            calls.append(1)
            if len(calls) == 6 and os.environ.get("KILL"):
                os.kill(os.getpid(), signal.SIGKILL)
            return image.data > image.data.mean()
        MINE = Segmenter("mine", "Mine", "bright voxels", lambda device: segment, frozenset({"click"}))
        """
    )
    (tmp_path / "model.py").write_text(code)
    command = [
        sys.executable,
        "-m",
        "umdlib",
        "score",
        str(manifest),
        "--segmenters",
        f"{tmp_path / 'model.py'}:MINE",
        "--prompts",
        "centre",
        "--out",
        str(tmp_path / "run"),
    ]
    killed = subprocess.run(command, env={**os.environ, "KILL": "1"}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    done = [p.name for p in (tmp_path / "run/cases/mine").iterdir() if not p.name.startswith(".")]
    assert sorted(done) == ["sub-001_petct_CT", "sub-001_petct_PET"]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.count("kept") == 2
    assert again.stdout.count(" scored (") == 2
    assert not list((tmp_path / "run/cases/mine").glob(".*"))
    assert len(scores.read_scores(tmp_path / "run/scores.parquet")) == 8


def test_prompts_on_disk_are_replayed_to_the_bit(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    benchmark.score_cohort(cohort, register(Counting()), tmp_path, settings=ONE)
    case = cohort.cases[1]
    masks = runs.read_prediction(tmp_path, "counting", case)
    for prompt in runs.read_prompts(tmp_path, "counting", case):
        again = Counting()(case.read_image(), prompt)
        assert np.array_equal(again, masks[prompt.structure])
    stored = json.loads((runs.case_folder(tmp_path, "counting", case) / "prompts.json").read_text())
    assert stored[0]["clicks"][0]["xyz_mm"] == list(
        runs.read_prompts(tmp_path, "counting", case)[0].clicks[0].xyz_mm
    )


@pytest.mark.parametrize("text", ["", "centre:a", "centre:1:2:3", "center"])
def test_plan_that_is_none_is_refused(text):
    with pytest.raises(InputError):
        benchmark.parse_plans(text)


def by_name(image, prompt):
    """A segmenter of named structures that knows their intensity, and asks the cohort nothing."""
    return image.data > 40 if prompt.structure == "ball" else image.data > 75


def test_predictions_are_read_by_the_names_they_were_kept_under(make_cohort, register, tmp_path):
    manifest = make_cohort(1)
    cohort = read_cohort(manifest)
    name = register(Counting(by_name), prompts=("class",))
    first = benchmark.score_cohort(cohort, name, tmp_path / "run", settings=ONE)
    swapped = {"ball": "rod", "rod": "ball"}
    lines = (manifest.parent / "dseg.tsv").read_text().splitlines()
    fields = [line.split("\t") for line in lines]
    for row in fields[1:]:
        row[1] = swapped[row[1]]
    (manifest.parent / "dseg.tsv").write_text("\n".join("\t".join(r) for r in fields) + "\n")
    other = read_cohort(manifest)
    assert [s.name for s in other.structures] == [swapped[s.name] for s in cohort.structures]
    case = other.cases[0]
    again = runs.read_prediction(tmp_path / "run", name, case, prompt="class")
    before = runs.read_prediction(tmp_path / "run", name, cohort.cases[0], prompt="class")
    assert all(np.array_equal(again[n], before[n]) for n in again)
    anew = benchmark.rescore(other, tmp_path / "run")
    fresh = benchmark.score_cohort(other, name, tmp_path / "other", settings=ONE)
    key = ["subject", "modality", "structure"]
    pd.testing.assert_series_equal(
        anew.set_index(key)["dice"].sort_index(), fresh.set_index(key)["dice"].sort_index()
    )
    assert not np.allclose(
        first["dice"], anew.set_index(key)["dice"].reindex(pd.MultiIndex.from_frame(first[key]))
    )


def test_predictions_of_other_structures_are_refused(make_cohort, register, tmp_path):
    manifest = make_cohort(1)
    benchmark.score_cohort(read_cohort(manifest), register(Counting()), tmp_path, settings=ONE)
    table = (manifest.parent / "dseg.tsv").read_text()
    (manifest.parent / "dseg.tsv").write_text(table.replace("rod", "stick"))
    with pytest.raises(InputError, match="are of ball, rod; the cohort has ball, stick now"):
        benchmark.rescore(read_cohort(manifest), tmp_path)


def test_a_structure_that_only_pet_has_is_not_asked_and_no_failure(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    ct = next(c for c in cohort.cases if c.modality == "CT")
    reference = ct.read_reference()
    rod = next(s.value for s in cohort.structures if s.name == "rod")
    data = np.where(reference.data == rod, 0, reference.data).astype(np.uint8)
    write_label_map(ct.reference, LabelMap(data, reference.affine))
    table = benchmark.score_cohort(cohort, register(Counting()), tmp_path / "run", settings=ONE)
    rows = table[table["structure"].eq("rod")].set_index("modality")
    assert rows["status"].to_dict() == {"CT": "both_empty", "PET": "unavailable"}
    assert np.isnan(rows.loc["PET", "dice"]) and "not asked" in rows.loc["PET", "reason"]
    anew = benchmark.rescore(cohort, tmp_path / "run")
    pd.testing.assert_frame_equal(
        anew[["structure", "modality", "status", "reason"]].sort_values(
            ["structure", "modality"], ignore_index=True
        ),
        table[["structure", "modality", "status", "reason"]].sort_values(
            ["structure", "modality"], ignore_index=True
        ),
    )


def test_half_written_folders_are_removed_only_of_processes_known_to_be_dead(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    folder = runs.case_folder(tmp_path, "counting", cohort.cases[0])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        here = owner()
        started = psutil.Process(other.pid).create_time()
        owners = {
            "living": {**here, "pid": other.pid, "started": started},
            "dead": {**here, "pid": 999999999},
            "successor": {**here, "pid": other.pid, "started": started - 100},
            "other-host": {**here, "host": "elsewhere", "pid": 999999999},
            "other-boot": {**here, "boot": "another", "pid": 999999999},
            "other-container": {**here, "pids": "pid:[1]", "pid": 999999999},
            "unsigned": None,
        }
        parts = {name: folder.with_name(f".{folder.name}.{name}.1.part") for name in owners}
        for name, part in parts.items():
            part.mkdir(parents=True)
            if owners[name]:
                (part / "owner.json").write_text(json.dumps(owners[name]))
        # a part has no record before its first and after its last file: its name says who wrote it
        for name, pid in (("alive", other.pid), ("killed", 999999999)):
            parts[name] = folder.with_name(f".{folder.name}.{runs._HOST}.{pid}.part")
            parts[name].mkdir()
        benchmark.score_cohort(cohort, register(Counting()), tmp_path, settings=ONE)
        other.communicate(b"\n")
    gone = {name for name, part in parts.items() if not part.exists()}
    assert gone == {"dead", "successor", "killed"}


def test_a_case_whose_prediction_is_gone_is_predicted_again(make_cohort, register, tmp_path):
    call = Counting()
    cohort = read_cohort(make_cohort(1))
    name = register(call)
    benchmark.score_cohort(cohort, name, tmp_path, settings=ONE)
    asked = call.calls
    (runs.case_folder(tmp_path, name, cohort.cases[0]) / runs.prediction_file("centre", 0, 0)).unlink()
    benchmark.score_cohort(cohort, name, tmp_path, settings=ONE)
    assert call.calls == asked + 2


def test_a_segmenter_that_cannot_be_loaded_has_rows_with_the_reason(make_cohort, tmp_path):
    def load(device):
        raise RuntimeError("3 missing keys")

    segmenters.register(Segmenter("broken", "B", "B.", load, frozenset({"click"})))
    table = benchmark.score_cohort(read_cohort(make_cohort(1)), "broken", tmp_path)
    assert table["status"].eq("unavailable").all()
    assert table["reason"].eq("RuntimeError: 3 missing keys").all()


def test_scoring_a_part_keeps_the_rows_of_the_rest(make_cohort, tmp_path):
    from umdlib.__main__ import main

    call = [
        "score",
        str(make_cohort(2)),
        "--segmenters",
        "threshold",
        "--out",
        str(tmp_path / "r"),
        "--prompts",
        "centre:1:0",
    ]
    assert main(call) == 0
    whole = scores.read_scores(tmp_path / "r" / "scores.parquet")
    assert main([*call, "--subjects", "sub-001"]) == 0
    after = scores.read_scores(tmp_path / "r" / "scores.parquet")
    key = ["subject", "modality", "structure"]
    pd.testing.assert_frame_equal(
        whole.sort_values(key, ignore_index=True), after.sort_values(key, ignore_index=True)
    )


def test_cases_added_by_several_processes_are_all_kept(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(4))
    table = benchmark.score_cohort(cohort, register(Counting()), tmp_path / "run", settings=ONE)
    parts = []
    for _, part in table.groupby("subject"):
        part.attrs = dict(table.attrs)
        parts.append(part.reset_index(drop=True))
    path = tmp_path / "parts" / "counting.parquet"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: scores.add_cases(path, part), parts))
    assert set(scores.read_scores(path)["subject"]) == set(table["subject"])


def test_cases_prompted_otherwise_are_not_kept(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(2))
    table = benchmark.score_cohort(cohort, register(Counting()), tmp_path / "run", settings=ONE)
    path = tmp_path / "counting.parquet"
    scores.write_scores(path, table, stamp={**table.attrs["stamp"], "prompts": "of an older code"})
    one = table[table["subject"].eq("sub-001")].reset_index(drop=True)
    one.attrs = dict(table.attrs)
    scores.add_cases(path, one)
    assert set(scores.read_scores(path)["subject"]) == {"sub-001"}


def test_no_memory_to_load_a_segmenter_ends_the_command(make_cohort, tmp_path):
    def load(device):
        raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")

    segmenters.register(Segmenter("large", "L", "L.", load, frozenset({"click"})))
    with pytest.raises(InputError, match="ran out of memory on cpu while it was loaded"):
        benchmark.score_cohort(read_cohort(make_cohort(1)), "large", tmp_path)


def test_rescoring_keeps_the_rows_of_images_that_a_segmenter_has_no_weights_for(make_cohort, tmp_path):
    def load(device, condition):
        return lambda image, prompt, previous=None: image.data > 40

    segmenters.register(
        Segmenter("half", "H", "H.", load, frozenset({"click"}), conditions=(("petct", "CT"),))
    )
    cohort = read_cohort(make_cohort(1))
    table = benchmark.score_cohort(cohort, "half", tmp_path, settings=ONE)
    scores.write_scores(tmp_path / "scores.parquet", table, stamp=table.attrs["stamp"])
    anew = benchmark.rescore(cohort, tmp_path)
    key = ["subject", "modality", "structure"]
    columns = [*key, "status", "reason", "dice"]
    pd.testing.assert_frame_equal(
        anew[columns].sort_values(key, ignore_index=True), table[columns].sort_values(key, ignore_index=True)
    )
    assert anew["status"].value_counts().to_dict() == {"unavailable": 2, "ok": 2}


def test_predictions_without_the_names_of_their_bits_are_read_in_the_order_asked(
    make_cohort, register, tmp_path
):
    cohort = read_cohort(make_cohort(1))
    name = register(Counting(by_name), prompts=("class",))
    benchmark.score_cohort(cohort, name, tmp_path, settings=ONE)
    case = cohort.cases[0]
    before = runs.read_prediction(tmp_path, name, case, prompt="class")
    path = runs.case_folder(tmp_path, name, case) / "scores.parquet"
    table = scores.read_scores(path)
    stamp = {k: v for k, v in table.attrs["stamp"].items() if k != "structures"}
    scores.write_scores(path, table, stamp=stamp)
    turned = replace(case, structures=case.structures[::-1])
    after = runs.read_prediction(tmp_path, name, turned, prompt="class")
    assert all(np.array_equal(after[n], before[n]) for n in before)


def test_a_case_stays_where_the_new_one_cannot_take_its_place(tmp_path):
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "scores.parquet").write_text("old")
    with pytest.raises(FileNotFoundError):
        runs._put(tmp_path / ".case.host.1.part", folder)
    assert (folder / "scores.parquet").read_text() == "old"
    part = tmp_path / ".case.host.2.part"
    part.mkdir()
    (part / "scores.parquet").write_text("new")
    runs._put(part, folder)
    assert (folder / "scores.parquet").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["case"]


@pytest.mark.parametrize("same", [True, False])
def test_the_same_case_of_another_process_stays_in_its_place(
    same, make_cohort, register, tmp_path, monkeypatch
):
    cohort, write, places = read_cohort(make_cohort(1)), runs.write_case, []

    def beaten(part, folder, table, given, stamp):
        other = shutil.copytree(part, part.with_suffix(".other"))
        write(other, folder, table, given, stamp if same else {**stamp, "inputs_key": "of other inputs"})
        places.append((folder, folder.stat().st_ino))
        return write(part, folder, table, given, stamp)

    monkeypatch.setattr(runs, "write_case", beaten)
    name = register(Counting(by_name), prompts=("class",))
    table = benchmark.score_cohort(cohort, name, tmp_path, settings=ONE)
    assert places and all((folder.stat().st_ino == inode) == same for folder, inode in places)
    lines = []
    again = benchmark.score_cohort(cohort, name, tmp_path, settings=ONE, report=lines.append)
    assert "kept" in lines[0] and again["dice"].equals(table["dice"])


def test_two_models_of_one_name_are_refused_before_anything_runs(make_cohort, tmp_path, capsys):
    from umdlib.__main__ import main

    text = (
        "from umdlib.segmenters import Segmenter\n"
        "MINE = Segmenter('twin', 'T', 'T.', lambda device: None, frozenset({'click'}))\n"
    )
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(text)
    named = ",".join(f"{tmp_path / name}:MINE" for name in ("one.py", "two.py"))
    call = ["score", str(make_cohort(1)), "--segmenters", named, "--out", str(tmp_path / "run")]
    assert main(call) == 2
    assert "have one name" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_predictions_of_another_grid_are_not_scored_anew(make_cohort, register, tmp_path):
    cohort = read_cohort(make_cohort(1))
    benchmark.score_cohort(cohort, register(Counting()), tmp_path, settings=ONE)
    case = cohort.cases[0]
    reference = case.read_reference()
    moved = reference.affine.copy()
    moved[0, 3] += 5
    write_label_map(case.reference, LabelMap(reference.data, moved))
    with pytest.raises(InputError, match="Grid of .* differs from its reference .*apart"):
        benchmark.rescore(cohort, tmp_path)
