"""Wrong words for every command: one sentence with file, value and rule, status 2, and nothing left behind."""

import os

import pytest

from umdlib.__main__ import main
from umdlib.cohort.manifest import read_cohort


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a cohort of one pair, a file that is no table, and an empty folder."""
    from conftest import _write_cohort

    root = tmp_path_factory.mktemp("commands")
    _write_cohort(root / "cohort", 1)
    (root / "file").write_text("x")
    (root / "empty").mkdir()
    (root / "printed.csv").write_text("Model,Dice\nFold 1,0.9\n")
    (root / "bad.tsv").write_text("a\tb\n1\t2\n")
    (root / "ids.tsv").write_text("a\n")
    return root


M = "cohort/manifest.tsv"
CT = "cohort/sub-001_CT.nii.gz"
LABELS = "cohort/sub-001_CT_dseg.nii.gz"
SPACING = "mm. Must be 2.0 to 8.0 mm"
KNOWN = "Unknown segmenter 'treshold'. Did you mean 'threshold'? Known: threshold, region_growing"
GONE = "File nowhere.tsv does not exist."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("check empty", "File empty cannot be read: Is a directory."),
        ("check bad.tsv", "Column 'subject' is missing in bad.tsv. It has: a, b."),
        (f"check {M} --json empty", "Cannot write empty: Is a directory."),
        ("synthesise file", "Cannot make folder file: File exists."),
        ("synthesise new --spacing 0", f"Invalid spacing 0.0 {SPACING}"),
        ("synthesise new --spacing nan", f"Invalid spacing nan {SPACING}"),
        ("synthesise new --lesions -1", "Invalid lesions -1. Must be a whole number of 0 or more."),
        ("synthesise new --seed -1", "Invalid seed -1. Must be a whole number of 0 or more."),
        ("synthesise new --factor nois=1", "Unknown factor 'nois'. Did you mean 'noise'?"),
        ("synthesise new --factor noise", "Invalid factor 'noise'. Write NAME=STRENGTH, e.g. noise=0."),
        ("simulate nowhere.nii.gz new", "File nowhere.nii.gz does not exist."),
        (f"simulate {CT} new --session petc", "Unknown session 'petc'. Did you mean 'petct'?"),
        (f"simulate {LABELS} new --names nowhere.tsv", GONE),
        (f"simulate {LABELS} new --spacing 9", f"Invalid spacing 9.0 {SPACING}"),
        ("import bid empty m.tsv", "Unknown kind of import 'bid'. Did you mean 'bids'?"),
        ("import dicom file m.tsv", "file is a file. An import takes the folder that it lies in."),
        (
            "import dicom empty m.tsv --modality CT",
            "Invalid --modality 'CT'. Write NAME=CT, NAME=PET or NAME=MR.",
        ),
        ("import dicom empty m.tsv --target lesion", "Unknown target 'lesion'. Did you mean 'lesions'?"),
        ("import dicom empty m.tsv --names nowhere.tsv", GONE),
        ("import pattern empty m.tsv", "Kind pattern needs --image, e.g. '{subject}/{modality}.nii.gz'."),
        ("cohorts show", "umdlib cohorts show needs the NAME of a set, see `umdlib cohorts list`."),
        ("cohorts cite autope", "Unknown public cohort 'autope'. Did you mean 'autopet'?"),
        ("cohorts fetch autopet", "umdlib cohorts fetch needs a FOLDER after the name."),
        ("cohorts unpack", "umdlib cohorts unpack needs an archive and a FOLDER."),
        (
            "cohorts unpack nowhere.zip new",
            "Archive nowhere.zip cannot be unpacked: No such file or directory.",
        ),
        ("cohorts unpack file new", "File file is not an archive: neither ZIP nor tar."),
        ("cohorts unpack printed.csv file", "File printed.csv is not an archive"),
        ("subset nowhere.tsv new", GONE),
        (
            f"subset {M} new --subjects sub-01",
            "Unknown subject 'sub-01'. Did you mean 'sub-001'? Known: sub-001.",
        ),
        (
            f"subset {M} new --structures bal",
            "Unknown structure 'bal'. Did you mean 'ball'? Known: ball, rod.",
        ),
        (f"subset {M} new --session petmr", "Nothing of cohort is left: no such subject in session petmr."),
        (
            f"subset {M} new --lesions --session petct",
            "Invalid --lesions with --subjects, --session or --structures.",
        ),
        (f"subset {M} cohort", "cohort holds the cohort itself. Name another folder."),
        (
            "segmenters --make segvo",
            "Unknown system that runs out of process 'segvo'. Did you mean 'segvol'?",
        ),
        ("segmenters --checkout x", "--checkout and --python go with --make NAME."),
        (
            "segmenters --make segvol --checkout empty",
            "empty is not a checkout of BAAI-DCAI/SegVol: it holds no ",
        ),
        ("weights where treshold", KNOWN),
        ("weights check treshold", KNOWN),
        ("weights fetch", "umdlib weights fetch takes 1 name, not 0."),
        ("weights list a", "umdlib weights list takes 0 names, not 1."),
        ("weights convert a", "umdlib weights convert takes 2 names, not 1."),
        (
            "weights convert nowhere.pth new.pth",
            "File nowhere.pth cannot be read: No such file or directory.",
        ),
        ("segment nowhere.nii.gz --system threshold", "File nowhere.nii.gz does not exist."),
        (f"segment {CT} --system treshold", KNOWN),
        (
            f"segment {CT} --system threshold --click 0,0,0",
            f"The modality of {CT} is not known: its values run from -1",
        ),
        (f"segment {CT} --system threshold --modality C", "Unknown modality 'C'. Did you mean 'CT'?"),
        (
            f"segment {CT} --system threshold --modality CT --device gpu",
            "Unknown device 'gpu'. Known: cpu, cuda",
        ),
        ("segment bad.tsv --system threshold", "Column 'image' is missing in bad.tsv. It has: a, b."),
        (
            "segment bad.tsv --system threshold --box 1",
            "Option --box goes with one image. In bad.tsv it is a column.",
        ),
        ("score nowhere.tsv --segmenters threshold --out new", GONE),
        (
            f"score {M} --segmenters threshold --out new --device cud",
            "Unknown device 'cud'. Known: cpu, cuda, cuda:N.",
        ),
        (
            f"score {M} --segmenters threshold --out new --subjects sub-1",
            "Unknown subject 'sub-1'. Did you mean",
        ),
        (
            f"score {M} --segmenters nowhere.py:MINE --out new",
            "File nowhere.py does not exist. It should hold a",
        ),
        (
            f"score {M} --segmenters nnunet:nowhere --out new",
            "nowhere/plans.json does not exist. A trained nnU-Net",
        ),
        (
            f"score {M} --segmenters specialist:nowhere/nnunet --out new",
            "specialist:FOLDER/nnunet_small. In ",
        ),
        ("rescore nowhere.tsv --out new", GONE),
        (f"rescore {M} --out empty --tolerances 0", "Tolerances '0' must be above 0 mm and finite."),
        ("reference-scores nowhere.parquet --out x.tsv", "nowhere.parquet"),
        ("quantities nowhere.tsv --out new", GONE),
        ("ceilings nowhere.tsv --out new", GONE),
        (f"ceilings {M} --out new --jitter a", "Jitter 'a' are not numbers in mm, e.g. 1,5."),
        (f"ceilings {M} --out new --jitter 1,-1", "Jitter '1,-1' must be above 0 mm and finite."),
        ("agree nowhere.tsv --segmenters threshold --out new", GONE),
        (f"agree {M} --segmenters treshold --out new", KNOWN),
        ("ladder nowhere.tsv --segmenters threshold --out new", GONE),
        (f"ladder {M} --segmenters , --out new", "No segmenter is named. `umdlib segmenters` lists them."),
        (
            f"ladder {M} --segmenters threshold --out new --session petm",
            "Unknown session 'petm'. Did you mean 'petmr'?",
        ),
        (
            f"ladder {M} --segmenters threshold --out new --shard 3/2",
            "Shard '3/2' is not K/N with K from 1 to N",
        ),
        ("train specialist nowhere.tsv --session petct --modality CT --out new", GONE),
        (
            f"train specialist {M} --session petc --modality CT --out new",
            "Unknown session 'petc'. Did you mean",
        ),
        (
            f"train specialist {M} --session petct --modality C --out new",
            "Unknown modality 'C'. Did you mean 'CT'?",
        ),
        (
            f"train specialist {M} --session petct --modality CT --out new --both --release x",
            "A network of two images cannot be released; run it from its folder",
        ),
        (
            f"train specialist {M} --session petct --modality CT --out new --recipe smal",
            "'smal'. Did you mean 'small'?",
        ),
        ("train promptable nowhere.tsv --out new", GONE),
        ("domains new --names sam", "Unknown domain 'sam'. Did you mean 'same'?"),
        ("domains new --spacing 0", f"Invalid spacing 0.0 {SPACING}"),
        ("domains new --seed -1", "Invalid seed -1. Must be a whole number of 0 or more."),
        ("collect nowhere.parquet --out x.parquet", "nowhere.parquet"),
        ("canaries nowhere.tsv empty", "scores.parquet"),
        ("audit nowhere.csv", "Cannot read nowhere.csv: No such file or directory."),
        ("audit empty", "Cannot read empty: Is a directory."),
        ("audit printed.csv --metric dic", "Unknown metric 'dic'. Did you mean 'dice'?"),
        ("audit printed.csv --n 1", "Invalid n '1'. Must be a whole number of 2 or more, or LABEL=NUMBER."),
        ("audit printed.csv --unit mm", "Invalid unit 'mm' of dice. Must be fraction or per cent."),
        ("audit printed.csv --number 2", "printed.csv holds 1 tables; there is no table 2."),
        ("run nothing.ipynb", "Unknown notebook 'nothing.ipynb'."),
        ("run a.ipynb b.ipynb --name x", "--name is for one notebook."),
    ],
)
def test_wrong_words_end_with_a_sentence_and_leave_nothing(words, sentence, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = sorted(os.listdir())
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("umdlib: ") and sentence in said
    assert said.count("\n") == 1 and "Traceback" not in said
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("scor x", "invalid choice: 'scor'"),
        ("check", "required: MANIFEST"),
        ("check x --jobs 0", "--jobs: '0' is not a number of 1 or more"),
        ("synthesise new --subjects -1", "--subjects: '-1' is not a number of 1 or more"),
        ("synthesise new --seed a", "--seed: invalid int value: 'a'"),
        ("cohorts lists", "invalid choice: 'lists'"),
        ("segment x", "required: --system"),
        (f"score {M} --segmenters threshold", "required: --out"),
        ("ceilings x --out y --shift far", "--shift: invalid float value: 'far'"),
        ("train", "required: KIND"),
        ("train specialis", "invalid choice: 'specialis'"),
        (f"train specialist {M} --session petct --out new", "required: --modality"),
        ("collect --out x", "required: PART"),
        ("audit printed.csv --brackets sd", "--brackets: invalid choice: 'sd'"),
        ("audit printed.csv --number 0", "--number: '0' is not a number of 1 or more"),
    ],
)
def test_words_that_no_command_has_are_answered_by_its_usage(words, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        main(words.split())
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("usage: umdlib") and sentence in said


def test_a_file_outside_the_folder_that_a_check_allows_is_a_fault_of_its_row(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["check", M, "--inside", "nowhere"]) == 1
    said = capsys.readouterr().out
    assert said.count("FAULT sub-001 petct") == 2 and "2 faults, 0 doubts, 0 notes" in said
    assert "No subject has both a structural image and PET: the book needs at least one pair." in said
    assert len(read_cohort(M).pairs()) == 1
