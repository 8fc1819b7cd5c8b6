"""A synthetic cohort on disk: complete, reproducible in any order, resumable; bad requests refused."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from umdlib.__main__ import main
from umdlib.cohort import check_cohort, read_cohort
from umdlib.errors import InputError
from umdlib.images.volume import LabelMap, read_label_map, read_volume, write_label_map
from umdlib.labels import ORGANS
from umdlib.synthetic import Factors, Settings, image_pair, read_names, simulate, synthesise
from umdlib.synthetic.anatomy.drawing import draw_anatomy
from umdlib.synthetic.anatomy.person import draw_person
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.cohort import make_pair
from umdlib.synthetic.from_labels import tissue_named
from umdlib.synthetic.literature import READINGS, TISSUE, VOLUMES
from umdlib.synthetic.scanner.acquisition import draw_acquisition
from umdlib.synthetic.scanner.contrast import table, uptake_table
from umdlib.training import domains

COARSE = 8.0
VALUES = {s.name: s.value for s in ORGANS}
SUBJECTS = 30
UMD_VOLUMES = {  # ml, what a reader would accept of an adult (literature.VOLUMES, widened by cuts)
    "lung": (1500, 6500),
    "colon": (250, 1400),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two subjects, made by two processes at once."""
    out = tmp_path_factory.mktemp("cohort")
    synthesise(out, subjects=1, seed=5, settings=Settings(COARSE, 1), jobs=2)
    return out


def hashes(out: Path) -> dict[str, str]:
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.rglob("*"))
        if p.is_file()
    }


def rows(out):
    lines = (out / "manifest.tsv").read_text().splitlines()
    names = lines[0].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]


def test_manifest_names_files_that_exist_in_their_units(cohort):
    table = rows(cohort)
    assert [(r["subject"], r["session"], r["modality"], r["unit"]) for r in table] == [
        ("sub-001", "petct", "CT", "HU"),
        ("sub-001", "petct", "PET", "SUV"),
        ("sub-002", "petmr", "MR", "a.u."),
        ("sub-002", "petmr", "PET", "SUV"),
    ]
    for row in table:
        image = read_volume(cohort / row["image"], unit=row["unit"])
        labels = read_label_map(cohort / row["reference"], values=tuple(s.value for s in ORGANS))
        assert image.shape == labels.shape
        assert labels.data.dtype == np.uint8
        assert len(np.unique(labels.data)) == 14


def test_headers_carry_both_transforms_and_mm(cohort):
    image = nib.load(cohort / rows(cohort)[0]["image"])
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 1
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_truth_is_beside_the_images(cohort):
    record = json.loads(next((cohort / "sub-001").rglob("*_synthesis.json")).read_text())
    assert record["person"]["volumes_ml"].keys() == VOLUMES.keys()
    assert record["acquisition"]["breathing_mm"] > 0
    assert len(record["lesions"]) == 1
    assert record["factors"]["noise"] == 1.0
    assert "/" not in record["key"]


def test_a_finished_subject_is_kept_and_a_broken_one_made_again(cohort):
    """By this process, after the other one: image bytes depend on (seed, subject, session) only."""
    before = hashes(cohort)
    lost = cohort / rows(cohort)[1]["image"]
    lost.unlink()
    said = []
    synthesise(cohort, subjects=1, seed=5, settings=Settings(COARSE, 1), progress=said.append)
    assert [s.split(" ")[1] for s in said] == ["written", "kept"]
    assert hashes(cohort) == before


@pytest.mark.slow
def test_another_order_and_no_process_give_the_same_bytes(cohort, tmp_path):
    settings = Settings(COARSE, 1)
    synthesise(tmp_path, subjects=1, seed=5, settings=settings, only=["sub-002"])
    alone, made = hashes(tmp_path / "sub-002"), hashes(cohort / "sub-002")
    assert len(made) == 7 and alone == made


@pytest.mark.slow
def test_another_seed_is_another_person(cohort):
    record = json.loads(next((cohort / "sub-001").rglob("*_synthesis.json")).read_text())
    other = make_pair("sub-001", "petct", 6, COARSE).anatomy.person
    assert record["person"].keys() == other.record().keys()
    assert record["person"]["volumes_ml"] != other.volumes_ml


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"subjects": 0}, "Invalid subjects 0"),
        ({"seed": -1}, "Invalid seed -1"),
        ({"jobs": 0}, "Invalid jobs 0"),
        ({"settings": Settings(lesions=-2)}, "Invalid lesions -2"),
        ({"settings": Settings(20.0)}, "Invalid spacing 20.0 mm"),
        ({"sessions": ("petct", "petct")}, "each once"),
        ({"sessions": ("petctt",)}, "Did you mean 'petct'"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(tmp_path, wrong, match):
    with pytest.raises(InputError, match=match):
        synthesise(tmp_path / "out", **({"subjects": 1, "seed": 0} | wrong))
    assert not (tmp_path / "out").exists()


POOL = """
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from umdlib.synthetic.cohort import end_with_parent
pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=end_with_parent)
for _ in range(2):
    pool.submit(time.sleep, 900)
print(*pool._processes, flush=True)
time.sleep(900)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by POSIX signal")
def test_workers_end_when_their_parent_is_killed():
    """SIGKILL leaves the parent no time to tell anyone: the workers must notice by themselves."""
    parent = subprocess.Popen(
        [sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2 and all(alive(pid) for pid in workers)
        parent.kill()
        parent.wait()
        assert wait_for(lambda: not any(alive(pid) for pid in workers))
    finally:
        parent.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return said.stdout.strip()[:1] not in ("", "Z")


def wait_for(what, *, seconds: float = 300.0):
    """First true answer of a question asked again and again; the last one when time is up."""
    end = time.monotonic() + seconds
    while not (answer := what()) and time.monotonic() < end:
        time.sleep(0.2)
    return answer


def test_a_process_that_was_ended_from_outside_is_a_sentence(tmp_path, monkeypatch):
    from concurrent.futures import Future
    from concurrent.futures.process import BrokenProcessPool

    from umdlib.synthetic import cohort as module

    class Killed:
        def __init__(self, *given, **more): ...

        def submit(self, *task):
            future = Future()
            future.set_exception(BrokenProcessPool("terminated abruptly"))
            return future

        def shutdown(self, **more): ...

    monkeypatch.setattr(module, "ProcessPoolExecutor", Killed)
    with pytest.raises(InputError, match="ended from outside.*fewer --jobs than 2"):
        synthesise(tmp_path, subjects=1, seed=1, settings=Settings(COARSE), jobs=2)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot make folder"):
        synthesise(tmp_path / "file" / "out", subjects=1, seed=0)


def toy_labels(affine=None):
    """Lungs, liver, bladder, two kidneys and a brain as blocks on 6 mm voxels."""
    data = np.zeros((60, 40, 160), np.uint8)
    for value, box in {
        8: (slice(12, 24), slice(10, 30), slice(95, 125)),
        1: (slice(32, 48), slice(8, 30), slice(75, 100)),
        10: (slice(25, 35), slice(20, 30), slice(30, 40)),
        4: (slice(20, 40), slice(5, 33), slice(135, 155)),
        2: (slice(14, 22), slice(5, 12), slice(62, 80)),
        3: (slice(38, 46), slice(5, 12), slice(60, 74)),
    }.items():
        data[box] = value
    data[36:48, 10:30, 101:125] = 8
    affine = np.diag([6.0, 6.0, 6.0, 1.0]) if affine is None else affine
    return LabelMap(data, affine, "toy")


@pytest.fixture(scope="module")
def shot():
    """Both images of `toy_labels`."""
    return simulate(toy_labels(), seed=2, settings=Settings(COARSE))


def test_a_users_label_map_gets_both_images_and_its_references(shot):
    assert shot.structural.unit == "HU" and shot.pet.unit == "SUV"
    liver = ndimage.binary_erosion(shot.pet_reference.data == 1, iterations=2)
    want = shot.anatomy.person.uptake_suv["liver"]
    assert np.median(shot.pet.data[liver]) == pytest.approx(want, rel=0.15)
    bladder = ndimage.binary_erosion(shot.pet_reference.data == 10, iterations=1)
    assert shot.pet.data[bladder].mean() > 4
    for tissue in ("cortical_bone", "grey_matter", "kidney_left_cortex", "fat", "muscle"):
        assert (shot.anatomy.tissue == CODES[tissue]).any(), tissue


@pytest.fixture
def small_map(tmp_path):
    """`toy_labels` as a file with names of its own, and those names."""
    write_label_map(tmp_path / "my map.nii.gz", toy_labels())
    names = {
        1: "liver",
        2: "kidney_left",
        3: "kidney_right",
        4: "brain",
        8: "lung_lower_lobe_left",
        10: "urinary_bladder",
    }
    lines = ["index\tname", *(f"{value}\t{name}" for value, name in names.items())]
    (tmp_path / "names.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "my map.nii.gz", tmp_path / "names.tsv"


def test_a_label_map_becomes_a_cohort_of_one(small_map, tmp_path, capsys):
    path, names = small_map
    words = [
        "simulate",
        path,
        tmp_path / "out",
        "--names",
        names,
        "--spacing",
        COARSE,
        "--session",
        "petmr",
        "--factor",
        "noise=0",
        "--lesions",
        1,
    ]
    assert main([str(w) for w in words]) == 0
    assert "manifest.tsv" in capsys.readouterr().out
    cohort = read_cohort(tmp_path / "out" / "manifest.tsv")
    assert [(c.subject, c.modality) for c in cohort.cases] == [("sub-mymap", "MR"), ("sub-mymap", "PET")]
    assert not check_cohort(cohort)["fault"].any()
    record = json.loads(next((tmp_path / "out").rglob("*_synthesis.json")).read_text())
    assert record["factors"]["noise"] == 0
    assert record["source"] == "my map.nii.gz"
    assert len(record["lesions"]) == 1


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--factor", "nois=0"], "Did you mean 'noise'"),
        (["--factor", "noise"], "Invalid factor 'noise'"),
        (["--factor", "noise=-1"], "Invalid strength -1.0 of factor 'noise'"),
        (["--spacing", "20"], "Invalid spacing 20.0 mm"),
        (["--session", "petctt"], "Did you mean 'petct'"),
        (["--lesions", "-1"], "Invalid lesions -1"),
        (["--seed", "-1"], "Invalid seed -1"),
        (["--names", "nowhere.tsv"], "File nowhere.tsv does not exist"),
    ],
)
def test_a_wrong_request_for_a_label_map_is_one_sentence(small_map, tmp_path, capsys, words, match):
    assert main(["simulate", str(small_map[0]), str(tmp_path / "out"), *words]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("value,name\n1,liver\n", "is not tab-separated: its header is 'value,name'"),
        ("value\tname\n1\tliver\n", "Column 'index' is missing in .*names.tsv. It has: value, name"),
        ("index\tname\n", "names no structure"),
        ("index\tname\n1\tliver\n1.5\tspleen\n", "Line 3 of .* has the index '1.5' and the name 'spleen'"),
        ("index\tname\n4\t\n", "Line 2 of .* has the index '4' and the name ''"),
        ("index\tname\n1\tliver\n1\tspleen\n", "Line 3 of .* names value 1 'spleen', after 'liver'"),
    ],
)
def test_names_are_a_table_of_index_and_name(tmp_path, text, match):
    (tmp_path / "names.tsv").write_text(text)
    with pytest.raises(InputError, match=match):
        read_names(tmp_path / "names.tsv")


def test_names_may_have_further_columns_and_spaces(tmp_path):
    (tmp_path / "names.tsv").write_text("name\tcolour\tindex\n liver \tred\t1\n\nspleen\t\t7\n")
    assert read_names(tmp_path / "names.tsv") == {1: "liver", 7: "spleen"}


@pytest.mark.slow
def test_real_organ_maps_become_bodies(shared):
    maps = sorted((shared / "real" / "organ_maps").glob("fdg_*.nii.gz"))[:3]
    assert maps
    for path in maps:
        shot = simulate(read_label_map(path), names=domains._MAP_NAMES, seed=1, settings=Settings(COARSE))
        uptake = shot.anatomy.person.uptake_suv
        liver = ndimage.binary_erosion(shot.pet_reference.data == 1, iterations=2)
        assert shot.pet.data[liver].mean() == pytest.approx(uptake["liver"], rel=0.15), path.name
        body = shot.structural.data > -300
        assert 15 < body.sum() * np.prod(shot.structural.spacing_mm) / 1e6 < 160, path.name
        for value in (VALUES["liver"], VALUES["kidney_left"], VALUES["kidney_right"], VALUES["lung"]):
            assert (shot.structural_reference.data == value).any(), (path.name, value)


@pytest.mark.slow
def test_a_flipped_map_is_the_same_body(shot):
    a = toy_labels()
    flipped = np.diag([-6.0, 6.0, 6.0, 1.0])
    flipped[0, 3] = 6.0 * (a.shape[0] - 1)
    other = simulate(LabelMap(a.data[::-1].copy(), flipped, "flipped"), seed=2, settings=Settings(COARSE))
    assert np.array_equal(shot.pet.data, other.pet.data)


def test_wrong_label_maps_are_refused():
    with pytest.raises(InputError, match="Label value 10 in toy has no name"):
        simulate(toy_labels(), names={1: "liver", 2: "kidney_left", 3: "kidney_right", 4: "brain", 8: "lung"})
    with pytest.raises(InputError, match="Unknown structure 'livre'"):
        tissue_named("livre")
    turned = np.eye(4)
    turned[:2, :2] = [[0.866, -0.5], [0.5, 0.866]]
    with pytest.raises(InputError, match="oblique"):
        simulate(toy_labels(turned * [6, 6, 6, 1]))
    sheared = np.diag([6.0, 6, 6, 1])
    sheared[0, 1] = 3
    with pytest.raises(InputError, match="not perpendicular"):
        simulate(toy_labels(sheared))
    with pytest.raises(InputError, match="Every voxel of toy is 0"):
        simulate(LabelMap(np.zeros((4, 4, 4), np.uint8), np.eye(4), "toy"))


def one_piece(mask: np.ndarray) -> float:
    """Share of a mask that its largest part holds."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.bincount(parts.ravel())[1:].max() / mask.sum()


def readings(anatomy, labels, values: np.ndarray) -> dict[str, float]:
    """Mean over every structure of what its tissues are worth: images without blur or noise."""
    of_tissues = np.zeros((labels.max() + 1, len(values)))
    np.add.at(of_tissues, (labels[labels > 0], anatomy.tissue[labels > 0]), 1)
    means = of_tissues @ values / np.maximum(of_tissues.sum(axis=1), 1)
    return {s.name: float(means[s.value]) for s in ORGANS}


def out_of_range(found: list[dict[str, float]], modality: str) -> list[tuple]:
    """Structures that read outside their range in more than a tenth of the subjects."""
    faults = []
    for name, (ct_low, ct_high, pet_low, pet_high) in READINGS.items():
        low, high = (ct_low, ct_high) if modality == "CT" else (pet_low, pet_high)
        values = [round(subject[name], 2) for subject in found]
        if np.mean([low <= v <= high for v in values]) < 0.9:
            faults.append((modality, name, low, high, values))
    return faults


def check_imaged_liver(anatomy, session: str, strengths: Factors, seed: int) -> None:
    """The liver of both images reads what was put into it."""
    scan = draw_acquisition(np.random.default_rng(seed), session=session, bmi=anatomy.person.bmi)
    shot = image_pair(
        anatomy, session=session, acquisition=scan, seed=seed, factors=strengths, spacing_mm=COARSE
    )
    liver = ndimage.binary_erosion(shot.pet_reference.data == VALUES["liver"], iterations=2)
    uptake = anatomy.person.uptake_suv["liver"]
    assert shot.pet.data[liver].mean() == pytest.approx(uptake, rel=0.10), seed
    liver = ndimage.binary_erosion(shot.structural_reference.data == VALUES["liver"], iterations=2)
    if session == "petct":
        assert np.median(shot.structural.data[liver]) == pytest.approx(TISSUE["liver"].hu, abs=5)


def check_shapes(labels, tissue, spacing_mm, case) -> None:
    """Volumes of an adult, all within the body, in one piece, left on the left."""
    inside = ndimage.binary_erosion(tissue != CODES["air"])
    assert not labels[:, :, 2:-2][~inside[:, :, 2:-2]].any(), case
    voxels, boxes = np.bincount(labels.ravel()), ndimage.find_objects(labels)
    for structure in ORGANS:
        name = structure.name
        low, high = UMD_VOLUMES.get(name) or (0.72 * VOLUMES[name].low, 1.1 * VOLUMES[name].high)
        assert low < voxels[structure.value] * spacing_mm**3 / 1000 < high, (case, name)
        if name not in ("lung", "colon", "pancreas"):
            box = boxes[structure.value - 1]
            assert one_piece(labels[box] == structure.value) > 0.95, (case, name)
    left, right = (boxes[VALUES[name] - 1][0] for name in ("kidney_left", "kidney_right"))
    assert left.start + left.stop < right.start + right.stop, case


@pytest.mark.slow
def test_thirty_subjects_stay_within_the_literature():
    """Volume, HU and SUV of 30 subjects against the ranges of `literature`; one in six is imaged."""
    still = Factors(breathing=0, misregistration=0)
    scans, people = {"CT": [], "PET": []}, []
    hu = table({name: record.hu for name, record in TISSUE.items()})
    for i in range(SUBJECTS):
        anatomy = draw_anatomy(draw_person(np.random.default_rng(i)), spacing_mm=4.0)
        labels = anatomy.label_map.data
        people.append(anatomy.person)
        check_shapes(labels, anatomy.tissue, 4.0, i)
        scans["PET"].append(readings(anatomy, labels, uptake_table(anatomy.person)))
        scans["CT"].append(readings(anatomy, labels, hu))
        if i % 6 == 0:
            check_imaged_liver(anatomy, ("petct", "petmr")[i // 6 % 2], still, i)
    faults = [fault for modality in scans for fault in out_of_range(scans[modality], modality)]
    assert not faults
    assert 0.3 < np.mean([p.sex == "F" for p in people]) < 0.7
    assert np.ptp([p.bmi for p in people]) > 10
