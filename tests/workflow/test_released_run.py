"""A released run: written, compared to the bit with what is computed again, refused where it differs."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from umdbook import graph
from umdlib import evaluation
from umdlib.cohort import read_cohort
from umdlib.cohort.subset import write_subset
from umdlib.errors import InputError
from umdlib.evaluation import finished
from umdlib.files import file_hash
from umdlib.scores import release as releases
from umdlib.scores.table import read_scores, write_scores
from umdlib.version import __version__

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflow" / "released_run.py"
PROFILE = {"seed": 0, "spacing_mm": 4.0, "segmenters": "threshold", "prompts": "centre:1:1", "subjects": 3}

PLANS = evaluation.Settings(evaluation.parse_plans(PROFILE["prompts"]))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("released_run", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            patch.setenv(name, "1")  # the script's own setting ends with this test
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def made(write_cohort, tmp_path_factory):
    """A release of three subjects in a folder, and a run of two of them beside it."""
    folder = tmp_path_factory.mktemp("release")
    cohort = read_cohort(write_cohort(folder / "cohort", 3))
    evaluation.score_cohort(cohort, "threshold", folder / "whole", settings=PLANS)
    shutil.copytree(folder / "whole", folder / "live", ignore=shutil.ignore_patterns("sub-002*"))
    done = finished.finished_subjects(cohort, folder / "whole", ["threshold"])
    table = finished.finished_rows(cohort, folder / "whole", ["threshold"], done)
    table.attrs["stamp"] = {"cohort": "full", "segmenters": {"threshold": {}}, "umdlib": "0"}
    card = releases.Release(
        "full",
        {k: PROFILE[k] for k in ("subjects", "seed", "spacing_mm")}
        | {"prompts": {"threshold/petct": "centre:1:1"}},
        done,
        ["threshold"],
        releases.this_machine(),
        {"threshold": 1.0},
        "0",
    )
    people = cohort.table[["subject", "session", "modality"]]
    releases.write_release(card, table, people, folder / "released")
    some = cohort.table[cohort.table["subject"] != "sub-002"]
    some.to_csv(folder / "cohort" / "some.tsv", sep="\t", index=False)
    return folder


@pytest.fixture
def released(made, tmp_path):
    """A copy of the release and the run that a test may change, and the manifest of the two subjects."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path, tmp_path / "cohort" / "some.tsv"


def check(script, folder, manifest, capsys, name="full", more=()):
    words = ["check", folder / "live", name, "--manifest", manifest, "--segmenters", "threshold", *more]
    words += [
        "--out",
        folder / "scores.parquet",
        "--people",
        folder / "people.tsv",
        "--folder",
        folder / "released",
    ]
    status = script.main([str(w) for w in words])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_a_live_run_that_gives_the_released_numbers_is_replaced_by_the_released_rows(
    script, released, capsys
):
    folder, manifest = released
    shutil.rmtree(folder / "live")
    evaluation.score_cohort(read_cohort(manifest), "threshold", folder / "live", settings=PLANS)
    status, said = check(script, folder, manifest, capsys)
    assert status == 0, said
    assert "16 rows computed again, equal to the bit" in said  # 2 subjects, 2 images, 2 structures, 2 steps
    table = read_scores(folder / "scores.parquet")
    assert sorted(table["subject"].unique()) == ["sub-001", "sub-002", "sub-003"]
    assert table.attrs["stamp"]["released"]["live"] == {"petct": ["sub-001", "sub-003"]}
    assert len(read_scores(folder / "scores.parquet", subjects=["sub-001"])) == 8
    assert (folder / "people.tsv").read_text().count("\n") == 7


def test_the_first_difference_in_the_last_bit_stops_the_build(script, released, capsys):
    folder, manifest = released
    _, table, people = releases.read_release("full", folder / "released")
    stamp = table.attrs["stamp"]
    at = table.index[table["subject"].eq("sub-003")][2]
    table.loc[at, "dice"] = np.nextafter(table.loc[at, "dice"], 0.0)
    table.attrs["stamp"] = stamp
    card = releases.read_card("full", folder / "released")
    releases.write_release(card, table, people, folder / "released")
    status, said = check(script, folder, manifest, capsys)
    assert status == 2
    row = table.loc[at]
    name = f"sub-003 petct {row['modality']} {row['structure']} threshold centre step {row['step']} seed 0: dice is"
    assert name in said and "1 of 16 rows differ" in said


def test_seconds_and_keys_are_not_compared_and_prompts_are(released):
    folder, _ = released
    card, table, _ = releases.read_release("full", folder / "released")
    other = table.assign(seconds=1e9, peak_mb=0.0, prediction_key="x")
    assert releases.compare_with_release(other, table).difference == ""
    assert (
        table["given"].str.match(r"^[+-][-0-9.e]+,[-0-9.e]+,[-0-9.e]+$|^$").all()
        and table["given"].ne("").any()
    )
    moved = table.assign(given="+0.0,0.0,0.0")
    assert ": given is '+0.0,0.0,0.0' here" in releases.compare_with_release(moved, table).difference
    gone = releases.compare_with_release(table.iloc[1:], table).difference
    assert gone.endswith("is released and not computed.")


def test_another_processor_may_move_a_voxel_and_not_a_margin(released):
    folder, _ = released
    _, table, _ = releases.read_release("full", folder / "released")
    near, far = (table.assign(dice=table["dice"] - step * table["dice"].gt(0.5)) for step in (0.01, 0.03))
    assert releases.compare_with_release(near, table, exact=False).difference == ""
    assert releases.compare_with_release(near, table, exact=False).equal < len(table)
    assert "another kind of processor" in releases.compare_with_release(far, table, exact=False).difference
    many = pd.concat([table.assign(subject=table["subject"] + f"-{k}") for k in range(30)], ignore_index=True)
    leaks = many["dice"].gt(0.5) & many["step"].eq(0) & many["subject"].str.endswith("-7")
    assert 0 < leaks.sum() < 0.05 * many["step"].eq(0).sum()
    one = many.assign(dice=many["dice"].where(~leaks, 0.0))
    assert releases.compare_with_release(one, many, exact=False).difference == ""
    assert releases.compare_with_release(one, many, exact=True).difference != ""


def test_a_changed_file_is_not_the_release(released):
    folder, _ = released
    table = releases.release_files("full", folder / "released")["table"]
    before = file_hash(table)
    rows = read_scores(table)
    write_scores(table, rows.iloc[:-1], stamp=rows.attrs["stamp"])
    assert file_hash(table) != before
    with pytest.raises(InputError, match="of its card"):
        releases.read_release("full", folder / "released")


def test_a_profile_stands_on_a_release_of_its_own_settings_alone(released):
    folder, _ = released
    profile = PROFILE | {"released": f"{folder}/released/full", "live_subjects": 2}
    card, live = graph.standing(profile)
    assert card.subjects == {"petct": ["sub-001", "sub-002", "sub-003"]}
    assert len(live["petct"]) == 2
    assert "computed again: sub-" in graph.standing_words(profile)
    for change, why in (
        ({"prompts": "centre:1:2"}, "the prompts of threshold/petct are centre:1:2"),
        ({"seed": 1}, "seed is 1"),
        ({"segmenters": "threshold,region_growing"}, "region_growing/petct is not in the release"),
    ):
        assert graph.standing(profile | change) == (None, {})
        assert why in graph.standing_words(profile | change)
    assert graph.standing(profile, "mine/manifest.tsv") == (None, {})
    assert graph.standing(profile | {"released": f"{folder}/released/other"}) == (None, {})
    assert graph.standing(profile | {"released": ""}) == (None, {})


def test_a_release_of_other_subjects_is_compared_in_those_that_both_have(script, released, capsys):
    """The release with both images has subjects of its own: the draw of the run need not hit them."""
    folder, manifest = released
    card, table, people = releases.read_release("full", folder / "released")
    name = "beside"
    run = graph.Beside(("threshold",), name, PROFILE["prompts"])
    profile = PROFILE | {"released": f"{folder}/released/full"}
    assert not graph.beside_released(run, card, profile)  # there is none
    for shared, rows in (("sub-003", 8), ("sub-002", 0)):  # the live run has 001 and 003
        part = table[table["subject"].eq(shared)]
        part.attrs = table.attrs
        some = replace(card, name=name, subjects={"petct": [shared]})
        releases.write_release(some, part, people, folder / "released")
        status, said = check(script, folder, manifest, capsys, name, ["--shared"])
        assert status == 0, said
        assert f"released run {name}: {rows} rows computed again" in said
        status, said = check(script, folder, manifest, capsys, name)
        assert status == 2 and "is computed and not released" in said
    assert graph.beside_released(run, card, profile)
    assert not graph.beside_released(run, card, profile | {"spacing_mm": 6.0})
    assert not graph.beside_released(run, None, profile)


@pytest.fixture
def part(made):
    """Make a release of some subjects of the one that was made, with changes of its stamp."""

    def make(names, **changes):
        card, *tables = releases.read_release("full", made / "released")
        stamp = tables[0].attrs["stamp"] | {"cohort_hash": names[0]} | changes
        rows, people = (t[t["subject"].isin(names)].reset_index(drop=True) for t in tables)
        rows.attrs["stamp"] = stamp
        return replace(card, subjects={"petct": names}, code_version=names[0]), rows, people

    return make


def test_a_release_takes_further_subjects_of_its_own_kind(made, part, tmp_path):
    card, table, people = releases.read_release("full", made / "released")
    one, two = part(["sub-001", "sub-003"]), part(["sub-002"])
    joined, rows, who = releases.extended(one, two)
    assert joined.subjects == card.subjects
    assert joined.cost["threshold"] == pytest.approx(table["seconds"].sum(), abs=0.1)
    assert joined.code_version == "sub-001, sub-002"
    assert rows.attrs["stamp"]["cohort_hash"] not in ("sub-001", "sub-002")
    written = releases.write_release(joined, rows, who, tmp_path)
    assert (written.rows, len(who)) == (len(table), len(people)) == (24, 6)
    assert releases.compare_with_release(rows, table) == releases.Comparison(24, 24, "", True)
    with pytest.raises(InputError, match="its segmenters say threshold .*'weights': 'x'"):
        releases.extended(one, part(["sub-002"], segmenters={"threshold": {"weights": "x"}}))
    other = replace(two[0], settings=card.settings | {"seed": 1})
    with pytest.raises(InputError, match="its settings say seed 0, theirs 1"):
        releases.extended(one, (other, *two[1:]))


def test_further_subjects_of_other_code_need_one_that_was_computed_again(part):
    other = {"threshold": {"source": "other code"}}
    with pytest.raises(InputError, match="their code is another. Compute one of its subjects again"):
        releases.extended(part(["sub-001", "sub-003"]), part(["sub-002"], segmenters=other))
    again = part(["sub-002", "sub-003"], segmenters=other)
    joined, rows, who = releases.extended(part(["sub-001", "sub-003"]), again)
    assert (len(rows), len(who), joined.subjects["petct"]) == (24, 6, ["sub-001", "sub-002", "sub-003"])
    again[1].loc[again[1]["subject"].eq("sub-003"), "dice"] += 1e-9
    with pytest.raises(InputError, match="cannot take these subjects: sub-003 petct .* dice is"):
        releases.extended(part(["sub-001", "sub-003"]), again)


def test_a_live_run_of_one_structure_is_compared_in_that_structure(script, released, capsys):
    """As the graph asks a slow system again: a subset of the cohort, the release has every structure."""
    folder, manifest = released
    shutil.rmtree(folder / "live")
    part = write_subset(read_cohort(manifest), folder / "live", subjects=["sub-001"], structures=["ball"])
    evaluation.score_cohort(read_cohort(part), "threshold", folder / "live", settings=PLANS)
    status, said = check(script, folder, part, capsys)
    assert status == 0, said
    assert "released run full: 4 rows computed again, equal to the bit" in said
    assert sorted(read_scores(folder / "scores.parquet")["structure"].unique()) == ["ball", "rod"]


def test_the_draw_of_live_subjects_changes_with_the_version():
    names = {"petct": [f"sub-{n:03d}" for n in range(1, 49)]}
    card = releases.Release("full", {}, names, [], {}, {}, "")
    draws = {tuple(releases.live_subjects(card, 2, f"0.{n}.0")["petct"]) for n in range(6)}
    assert len(draws) > 3


def test_the_full_profile_is_what_the_default_one_stands_on(script):
    default, full = script.read_profile("default"), script.read_profile("full")
    same = ("seed", "spacing_mm", "segmenters", "prompts", "plans", "training_seed", "architecture")
    assert {k: default[k] for k in same} == {k: full[k] for k in same}
    assert default["released"] == "full" and not full["released"]


@pytest.mark.slow
def test_the_graph_makes_and_compares_the_live_subjects_of_a_release(script, released):
    """A card that fits the small profile: the cohort has the drawn subjects, and the scores are compared."""
    pytest.importorskip("snakemake")
    folder, _ = released
    card, table, people = releases.read_release("full", folder / "released")
    small = script.read_profile("small") | {"segmenters": "threshold"}
    settings = {k: small[k] for k in ("seed", "spacing_mm")} | {"subjects": 3}
    settings["prompts"] = {"threshold/petct": small["prompts"]}
    releases.write_release(replace(card, settings=settings), table, people, folder / "released")
    words = ["book", "--snakefile", "workflow/Snakefile", "--dry-run", "--printshellcmds", "--cores", "1"]
    words += ["--configfile", "workflow/small.yaml", "--config", "segmenters=threshold", "run=dry"]
    words += [f"released={folder}/released/full"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    (drawn,) = releases.live_subjects(card, 1, __version__)["petct"]
    assert f"--subjects 3 --seed {small['seed']} --spacing 6.0 --only {drawn} " in said
    assert "workflow/released_run.py check results/dry full" in said
    assert "-p people results/dry/people.tsv" in said


def test_the_default_profile_stands_on_released_domains_of_its_own_settings(script):
    """Fewer subjects, another seed of the cards, or maps of one's own: all are computed."""
    default = script.read_profile("default")
    runs, cards = graph.domain_runs(default), graph.domain_releases(default)
    assert list(cards) == list(runs) == ["domains", "curve"]
    per_domain = default["domain_subjects"]
    assert [len(c.subjects["petct"]) for c in cards.values()] == [5 * per_domain, per_domain]
    for other in ({"domain_subjects": per_domain + 1}, {"organ_maps": "maps"}, {"released": ""}):
        assert graph.domain_releases(default | other) == {}
    assert graph.domain_releases(default | {"curve_clicks": 3}) == {}


def test_one_domain_of_a_run_is_compared_with_its_release(script, released, capsys, monkeypatch):
    """The rows of the other domains are of another run."""
    folder, some = released
    monkeypatch.setattr(script, "_of_domain", lambda cohort, domain: {"petct": [f"sub-{domain}"]})
    words = ["check", folder / "live", "full", "--manifest", some, "--segmenters", "threshold"]
    words += ["--out", folder / "scores.parquet", "--folder", folder / "released", "--domain", "003"]
    assert script.main([str(w) for w in words]) == 0
    assert "8 rows computed again" in capsys.readouterr().out
