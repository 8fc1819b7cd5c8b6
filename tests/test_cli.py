"""The command line: a newcomer's way, and one sentence for each mistake."""

import io
from pathlib import Path

import pytest

from umdlib import __main__ as cli
from umdlib.__main__ import main
from umdlib.errors import InputError
from umdlib.scores.table import read_scores


def run(capsys, *words):
    status = main([str(w) for w in words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_every_command_of_the_table_has_help_and_a_function_that_takes_its_arguments(capsys):
    rows = [
        r.split("\t") for r in Path(cli.__file__).with_name("commands.tsv").read_text("utf-8").splitlines()
    ]
    commands = {name for name, argument, *_ in rows[1:] if not argument}
    assert commands - set(cli._COMMANDS) == {"train"}
    assert set(cli._COMMANDS) <= commands
    for command in commands:
        with pytest.raises(SystemExit) as end:
            main([*command.split(), "--help"])
        assert end.value.code == 0
        assert f"usage: umdlib {command}" in capsys.readouterr().out


def test_what_is_not_given_is_empty_and_numbers_are_numbers():
    given = cli.parser().parse_args(
        ["score", "m.tsv", "--segmenters", "a", "--out", "r", "--time-limit", "2"]
    )
    assert (given.session, given.subjects, given.prompts) == ("", "", "centre:1:2")
    assert (given.time_limit, given.memory_limit, given.isolate) == (2.0, None, False)
    drawn = cli.parser().parse_args(["synthesise", "out", "--factor", "a=0", "--factor", "b=1"])
    assert (drawn.subjects, drawn.spacing, drawn.factor) == (4, 4.0, ["a=0", "b=1"])
    assert cli.parser().parse_args(["run", "x", "-p", "n", "3"]).p == [["n", "3"]]


def test_without_a_command_the_help_is_shown(capsys):
    status, out, _ = run(capsys)
    assert status == 0
    assert "synthesise" in out


def test_check_lists_every_fault_and_fails(capsys, make_cohort):
    manifest = make_cohort(2)
    status, out, _ = run(capsys, "check", manifest)
    assert status == 0
    assert "4 cases, 0 with a fault" in out
    (manifest.parent / "sub-002_PET.nii.gz").write_bytes(b"broken")
    (manifest.parent / "sub-001_CT_dseg.nii.gz").write_bytes(b"broken")
    status, out, _ = run(capsys, "check", manifest)
    assert status == 1
    assert out.count("FAULT") == 2


def test_score_writes_a_table_and_reports_pairs(capsys, make_cohort, tmp_path):
    status, out, _ = run(
        capsys,
        "score",
        make_cohort(1),
        "--segmenters",
        "threshold",
        "--prompts",
        "centre",
        "--out",
        tmp_path / "run",
        "--cost",
        tmp_path / "cost.tsv",
    )
    assert status == 0
    table = read_scores(tmp_path / "run" / "scores.parquet")
    assert len(table) == 4
    assert table.attrs["stamp"]["segmenters"]["threshold"]["source"]
    assert (tmp_path / "cost.tsv").read_text().startswith("s\tmax_rss\tcpu_time\n")


def test_only_a_job_of_the_graph_is_handed_to_the_process_with_networks(capsys, monkeypatch):
    from umdbook import warm

    handed = []
    monkeypatch.setattr(warm, "hand_over", lambda words, *, networks: handed.append((words, networks)) or 7)
    job = ["score", "nowhere.tsv", "--segmenters", "threshold", "--out", "x"]
    assert run(capsys, *job)[0] == 2 and not handed
    assert run(capsys, *job, "--cost", "c.tsv")[0] == 7
    assert handed == [([*job, "--cost", "c.tsv"], True)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "nowhere.tsv"), "File nowhere.tsv does not exist."),
        (("score", "{m}", "--segmenters", "treshold", "--out", "x"), "Did you mean 'threshold'?"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--prompts", "center"), "'centre'"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--tolerances", "0"), "above 0 mm"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--session", "petmri"), "'petmr'"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--modality", "MR"), "No case of"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--tolerances", "inf"), "above 0 mm"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--tolerances", "1,1"), "must differ"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--prompts", "centre:0"), "no seed"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--prompts", "centre:\u00b2"), "is not"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--time-limit", "-3"), "above 0 s"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--time-limit", "nan"), "above 0 s"),
        (("score", "{m}", "--segmenters", "threshold", "--out", "x", "--memory-limit", "0"), "above 0 MB"),
        (("score", "{m}", "--segmenters", "", "--out", "x"), "No segmenter is named"),
        (("audit", "{d}/printed.csv", "--n", "Fold 2=3"), "Did you mean 'Fold 1'?"),
        (("run", "modality_gab"), "Did you mean 'modality_gap'?"),
        (("run", "modality_gap", "-p", "sesion", "petmr"), "Did you mean 'session'?"),
        (("run", "modality_gap", "-p", "seed", "one"), "Must be int."),
        (("import", "pattern", "{d}", "m.tsv"), "Kind pattern needs --image"),
        (("import", "ibsi", "no_such_folder", "m.tsv"), "does not exist"),
    ],
)
def test_a_mistake_ends_with_one_sentence_and_status_2(capsys, make_cohort, words, said):
    manifest = make_cohort(1)
    (manifest.parent / "printed.csv").write_text("Model,Dice\nFold 1,0.9\n")
    words = [w.format(m=manifest, d=manifest.parent) for w in words]
    status, _, err = run(capsys, *words)
    assert status == 2
    assert said in err
    assert "Traceback" not in err


def test_notebooks_are_listed_with_their_parameters(capsys):
    status, out, _ = run(capsys, "run")
    assert status == 0
    assert "modality_gap" in out
    assert "-p session" in out


def test_run_outside_the_checkout_says_where_notebooks_are(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["run"], ["run", "modality_gap"]):
        status, _, err = run(capsys, *words)
        assert status == 2
        assert "no folder notebooks/ here" in err


def test_letters_that_the_terminal_lacks_do_not_stop_a_command(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    assert main(["segmenters"]) == 0
    out.flush()
    assert b"\\xb1" in out.buffer.getvalue()


def test_a_manifest_without_references_is_said_in_one_sentence(capsys, make_cohort, tmp_path):
    manifest = make_cohort(1)
    lines = [line.split("\t") for line in manifest.read_text().splitlines()]
    place = lines[0].index("reference")
    lines[1:] = [[*line[:place], "", *line[place + 1 :]] for line in lines[1:]]
    manifest.write_text("\n".join("\t".join(line) for line in lines) + "\n")
    status, _, err = run(capsys, "score", manifest, "--segmenters", "threshold", "--out", tmp_path)
    assert status == 1
    assert "threshold was not asked. The image has no reference to score against" in err


def test_a_table_says_which_segmenters_of_its_folder_it_leaves_out(capsys, make_cohort, tmp_path):
    words = ("score", make_cohort(1), "--prompts", "centre", "--out", tmp_path, "--segmenters")
    run(capsys, *words, "threshold")
    _, out, _ = run(capsys, *words, "region_growing")
    assert "not in this table: threshold." in out
    _, out, _ = run(capsys, *words, "threshold,region_growing")
    assert "not in this table" not in out


def test_weights_that_are_not_needed_are_not_missed(capsys):
    assert "needs no weights" in run(capsys, "weights", "check", "threshold")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["domains", "OUT", "--session", "petct-retest"], "Unknown session 'petct-retest'"),
        (["domains", "OUT", "--names", ","], "No domain is named"),
        (["render", "OUT", "a.ipynb"], "There is no folder book/ here"),
        (["weights", "where"], "takes 1 name, not 0"),
        (["certify", "a {image} {click} {mask}", "--time-limit", "-1"], "Invalid time limit -1 s"),
        (["ceilings", "MANIFEST", "--out", "OUT", "--shift", "nan"], "Shift nan mm must be finite"),
        (
            ["score", "MANIFEST", "--segmenters", "threshold", "--out", "OUT", "--session", "petmr"],
            "is petmr.\n",
        ),
        (
            ["ladder", "MANIFEST", "--segmenters", "threshold", "--out", "OUT", "--shard", "1/2"],
            "than there are pairs",
        ),
    ],
)
def test_what_a_command_cannot_do_is_said_before_it_begins(
    words, said, make_cohort, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    places = {"MANIFEST": str(make_cohort(1, tmp_path / "cohort")), "OUT": str(tmp_path / "out")}
    assert main([places.get(w, w) for w in words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["5/4", "0/4", "2", "a/b", "1/"])
def test_a_shard_is_one_of_so_many(text):
    assert cli._shard("2/4") == (1, 4)
    with pytest.raises(InputError, match=f"Shard '{text}' is not K/N"):
        cli._shard(text)


@pytest.mark.parametrize(("text", "said"), [("1,a", "are not numbers in mm"), ("1,0", "must be above 0 mm")])
def test_tolerances_are_lengths(text, said):
    assert cli._tolerances("1,5") == (1.0, 5.0)
    with pytest.raises(InputError, match=said):
        cli._tolerances(text)
