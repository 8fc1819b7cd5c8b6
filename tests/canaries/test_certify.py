"""Certificates: planted faults are named, programs that are wired right raise no alarm."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from umdlib import segmenters
from umdlib.__main__ import main
from umdlib.canaries import scenes
from umdlib.canaries.certificate import html, markdown, write_certificate
from umdlib.canaries.certify import certify
from umdlib.canaries.wrapper import PLACES, Command, Job, WrapperFailed, segmenter
from umdlib.errors import InputError
from umdlib.images import partner as images
from umdlib.images.volume import LabelMap, read_volume, write_label_map, write_volume
from umdlib.segmenters.contract import Segmenter
from umdlib.segmenters.preparation.folders import Folders, published_unions
from umdlib.segmenters.systems import moose, mrsegmentator, totalsegmentator

CLICKED, NAMED = scenes.phantom("click"), scenes.phantom("text")
HU = {name: value for name, (_, _, value) in scenes.OBJECTS.items()}


def grown(data, at):
    """What is within 30 HU of a voxel's surroundings and connected to it."""
    low = [max(i - 1, 0) for i in at]
    value = np.median(data[low[0] : at[0] + 2, low[1] : at[1] + 2, low[2] : at[2] + 2])
    marked, _ = ndimage.label(abs(data - value) < 30)
    return marked == marked[tuple(at)]


def near(data, value, level=25):
    """What is near a value in HU, without the thin borders between bodies."""
    return ndimage.binary_opening(abs(ndimage.median_filter(data, 3) - value) < level, iterations=2)


def read(job):
    image = nib.load(job.image)
    return image, np.asarray(image.dataobj), json.loads(job.prompt.read_text())


def save(job, mask, affine):
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), job.mask)


def program(change=lambda mask, job: mask, *, affine=lambda a: a, at=None):
    """A click-prompted program that is right but for what is changed."""

    def run(job):
        image, data, prompt = read(job)
        voxel = prompt["clicks"][0]["voxel"] if at is None else at(image, prompt["clicks"][0])
        if not all(0 <= v < n for v, n in zip(voxel, data.shape, strict=True)):
            raise WrapperFailed("the click lies outside")
        save(job, change(grown(data, voxel), job), affine(image.affine))

    return run


def by_name(name_of=lambda name: name):
    """A text-prompted program that knows the phantom's bodies by their HU."""

    def run(job):
        image, data, prompt = read(job)
        save(job, near(data, HU[name_of(prompt["structure"])]), image.affine)

    return run


def changing(mask, job):
    rng = np.random.default_rng()
    return mask ^ (rng.random(mask.shape) < 0.001)


def peeking(mask, job):
    beside = job.folder / "labelsTr" / "image.nii.gz"
    return np.asarray(nib.load(beside).dataobj) > 0 if beside.is_file() else mask


def kept():
    seen = {}
    return lambda mask, job: seen.setdefault(str(job.image), mask)


def clipped(image, click):
    """The nearest voxel inside, wherever the click lies."""
    return [min(max(v, 0), n - 1) for v, n in zip(click["voxel"], image.shape, strict=True)]


def without_origin(image, click):
    """Millimetres over spacing: as if the first voxel lay at the origin, in the axes' order of the file."""
    at = nib.affines.apply_affine(np.linalg.inv(image.affine), click["ras_mm"])
    origin = np.array([95.0, -40.0, 310.0]) - image.affine[:3, 3]  # right in the first image alone
    voxel = np.rint(at + origin / 10).astype(int)
    return [min(max(v, 0), n - 1) for v, n in zip(voxel.tolist(), image.shape, strict=True)]


def in_file_order(mask, job):
    """Wrong where the first axis of the file does not run along the world's second one."""
    image = nib.load(job.image)
    return mask if nib.aff2axcodes(image.affine)[0] == "A" else mask[::-1]


def rename(name):
    return {"liver": "spleen", "spleen": "liver"}.get(name, name)


PLANTED = {
    "flipped": (program(lambda m, job: m[::-1]), CLICKED),
    "permuted_axes": (program(lambda m, job: m.transpose(1, 0, 2)), CLICKED),
    "shifted": (program(lambda m, job: np.roll(m, (6, -5, 3), (0, 1, 2))), CLICKED),
    "swapped_structures": (by_name(rename), NAMED),
    "grid_lost": (program(affine=lambda a: np.eye(4)), CLICKED),
    "not_in_mm": (program(at=without_origin), CLICKED),
    "storage_order": (program(in_file_order), CLICKED),
    "not_repeatable": (program(changing), CLICKED),
    "answers_outside": (program(at=clipped), CLICKED),
    "reads_beside": (program(peeking), CLICKED),
    "stale": (program(kept()), CLICKED),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named(fault):
    run, scene = PLANTED[fault]
    assert fault in certify(run, scene, fault).faults


@pytest.mark.parametrize(("run", "scene"), [(program(), CLICKED), (by_name(), NAMED)], ids=["click", "text"])
def test_a_program_that_is_wired_right_raises_no_alarm(run, scene):
    found = certify(run, scene, "right")
    assert found.faults == () and all(v.state == "pass" for v in found.verdicts)
    assert found.calls == 11


PAIRED = scenes.phantom("text", paired=True)


@pytest.mark.parametrize(
    ("modality", "session", "made"),
    [
        ("PET", "petmr", "petmr"),
        ("PET", "petct", "petct"),
        ("MR", "petct", "petmr"),
        ("CT", "petmr", "petct"),
    ],
)
def test_a_built_in_body_is_of_the_session_that_has_its_two_images(modality, session, made, monkeypatch):
    asked = []
    monkeypatch.setattr(scenes, "make_pair", lambda subject, session, *given: asked.append(session))
    with pytest.raises(AttributeError):  # there is no pair
        scenes.body("click", modality, session=session, paired=True)
    assert asked == [made]


def by_both(suv_of=lambda job, ct, pet: images.onto(ct, pet)):
    """A program that finds a body by its HU and its uptake, which it brings onto the grid of the image."""

    def run(job):
        ct, pet = read_volume(job.image, unit="HU"), read_volume(job.partner, unit="SUV")
        name = json.loads(job.prompt.read_text())["structure"]
        suv = ndimage.gaussian_filter(suv_of(job, ct, pet), 1)
        save(job, near(ct.data, HU[name]) & (suv > scenes.UPTAKE[name] / 2), ct.affine)

    return run


def without_affine(job, ct, pet):
    """Uptake at the places of a partner whose axes run as the first one's did."""
    return images.onto(ct, replace(pet, affine=scenes.PET_AFFINE))


def test_a_program_of_two_images_that_is_wired_right_raises_no_alarm():
    found = certify(by_both(), PAIRED, "right")
    assert found.faults == () and all(v.state == "pass" for v in found.verdicts)
    assert len(found.verdicts) == 10 and "with its PET" in found.source


def test_faults_with_the_second_image_are_named():
    assert certify(by_name(), PAIRED, "one image").faults == ("ignores_partner",)
    assert "partner_misplaced" in certify(by_both(without_affine), PAIRED, "no affine").faults

    def rewriting(job, ct, pet):
        job.partner.write_bytes(job.partner.read_bytes() + b" ")
        return images.onto(ct, pet)

    assert certify(by_both(rewriting), PAIRED, "rewriting").faults == ("touches_image",)


def test_a_partner_is_asked_for_and_refused_in_words(tmp_path, capsys):
    for line, options, sentence in (
        (
            "a {image} {partner} {click} {mask}",
            ["--image", "i.nii", "--reference", "r.nii"],
            "partner is missing",
        ),
        ("a {image} {click} {mask}", ["--partner", "p.nii"], "Option --partner is not used"),
    ):
        assert main(["certify", line, *options]) == 2
        assert sentence in capsys.readouterr().err


def test_own_files_of_both_images_are_certified_from_the_command_line(tmp_path, capsys):
    write_volume(tmp_path / "ct.nii.gz", PAIRED.image)
    write_volume(tmp_path / "pet.nii.gz", PAIRED.partner)
    labels = sum(n * m.astype(np.uint8) for n, m in enumerate(PAIRED.references.values(), 1))
    write_label_map(tmp_path / "seg.nii.gz", LabelMap(labels.astype(np.uint8), PAIRED.image.affine))
    script = tmp_path / "both.py"
    script.write_text(BOTH)
    names = ",".join(f"{name}={n}" for n, name in enumerate(PAIRED.references, 1))
    files = ["--image", "ct.nii.gz", "--reference", "seg.nii.gz", "--partner", "pet.nii.gz"]
    files = [f if f.startswith("--") else str(tmp_path / f) for f in files]
    line = f"{sys.executable} {script} {{image}} {{partner}} {{click_voxel}} {{mask}}"
    page = tmp_path / "page.md"
    assert main(["certify", line, *files, "--structures", names, "-o", str(page)]) == 1
    assert "1 faults are suspected: ignores_partner" in capsys.readouterr().out  # it opens the file, no more
    assert "the second image is seen | fail: ignores_partner" in page.read_text()


def knowing(scheme, *file):
    """In the place of a class system's network: its values for the phantom's bodies, by their HU."""
    values = {n: parts[0][0] for n, parts in published_unions(scheme, *file).items() if n in HU}

    class Network:
        def label_map(self, image):
            data = ndimage.uniform_filter(np.asarray(image.data, float), 3)
            found = [ndimage.binary_opening(abs(data - HU[n]) < 20) * v for n, v in values.items()]
            return np.max(found, axis=0).astype(np.uint8)

        def planned_spacing(self, *, transposed_back=True):
            return (4.0, 3.0, 3.0)

    return Network()


def of_class(name):
    """A class system with its steps around the network as they are, a knowing network in them."""
    if name == "totalsegmentator":
        parts = [knowing(name), *[SimpleNamespace(label_map=lambda i: np.zeros(i.shape, np.uint8))] * 4]
        return totalsegmentator._model(parts, tuple(totalsegmentator.CT.values()), name, spacing_mm=3.0)
    if name == "mrsegmentator":
        return Folders([mrsegmentator.InLPS(knowing(name))], published_unions(name))
    part = moose.Resliced(knowing(name, "clin_ct_organs"), turned=True)
    return Folders([part], published_unions(name, "clin_ct_organs"))


@pytest.mark.parametrize("name", ["totalsegmentator", "mrsegmentator", "moose"])
def test_the_steps_of_class_systems_raise_no_alarm(name):
    if name == "moose":
        pytest.importorskip("SimpleITK")
    model = of_class(name)
    segmenters.register(Segmenter("classes", name, "By HU.", lambda device: model, frozenset({"class"})))
    found = certify(segmenter("classes", ("petct", "CT")), NAMED, name)
    assert found.faults == () and all(v.state == "pass" for v in found.verdicts)


def weighed(used):
    """A program that has its tolerance from a weight file, if it reads it."""

    def run(job):
        image, data, prompt = read(job)
        word = Path(job.values["weights"]).read_bytes() if used else b"tensors" * 40
        if not word.startswith(b"tensors"):
            raise WrapperFailed("no weights")
        level = 25 if word == b"tensors" * 40 else 5
        save(job, near(data, HU[prompt["structure"]], level), image.affine)

    return run


def test_weights_are_hashed_and_must_matter(tmp_path):
    file = tmp_path / "net.pth"
    file.write_bytes(b"tensors" * 40)
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    found = certify(weighed(True), NAMED, "used", weights=file, sha256=right.upper())
    assert found.faults == () and found.weights == right
    assert "weights_ignored" in certify(weighed(False), NAMED, "ignored", weights=file).faults
    assert "other_weights" in certify(weighed(True), NAMED, "other", weights=file, sha256="0" * 64).faults


def test_a_page_says_each_verdict_and_how_it_was_found(tmp_path):
    found = certify(program(lambda m, job: m[::-1]), CLICKED, "docker run <mine>")
    page = html(found)
    assert "docker run &lt;mine&gt;" in page and "fail: flipped" in page and page.count("<tr>") == 9
    assert markdown(found).count("\n| ") == 9
    assert "never written" in page
    with pytest.raises(InputError, match=r"page.pdf. Must end in .md or .html"):
        write_certificate(tmp_path / "page.pdf", found)


def test_a_command_line_is_checked_before_it_runs(tmp_path):
    for template, sentence in (
        ("a {image}", "lacks {mask}"),
        ("a {image} {mask} {clik}", "Invalid {clik}"),
        ("a '{image} {mask}", "No closing quotation"),
    ):
        with pytest.raises(InputError, match=sentence):
            Command(template)


def test_a_command_line_names_files_as_seen_from_where_it_is_typed(tmp_path, monkeypatch):
    (tmp_path / "my models").mkdir()
    (tmp_path / "my models" / "run it.py").write_text(
        "import sys\nopen(sys.argv[2] + '.seen', 'w').write('yes')\n"
    )
    (tmp_path / "net.pth").touch()
    monkeypatch.chdir(tmp_path)
    command = Command(f"{sys.executable} 'my models/run it.py' {{image}} {{mask}} --net=net.pth net")
    assert command.words[1] == str(tmp_path / "my models" / "run it.py")
    assert command.words[-2:] == [f"--net={tmp_path / 'net.pth'}", "net"]
    work = tmp_path / "work"
    work.mkdir()
    places = dict.fromkeys(PLACES, "") | {"image": "i", "mask": "m"}
    command(Job(work, work / "i", work / "m", work / "p", places))
    assert (work / "m.seen").read_text() == "yes"


SCRIPT = """
import array, gzip, struct, sys
raw = bytearray(gzip.open(sys.argv[1]).read())
size = struct.unpack_from("<3h", raw, 42)
at = [int(v) for v in sys.argv[2].split(",")]
if any(not 0 <= v < n for v, n in zip(at, size)):
    sys.exit("the click lies outside")
data = array.array("f", bytes(raw[352:]))
value = data[at[0] + size[0] * (at[1] + size[1] * at[2])]
struct.pack_into("<2h", raw, 70, 2, 8)
near = bytes(abs(v - value) < 30 for v in data)
gzip.open(sys.argv[3], "wb", 1).write(bytes(raw[:352]) + near)
"""


BOTH = SCRIPT.replace("sys.argv[3]", "sys.argv[4]").replace("sys.argv[2]", "sys.argv[3]")
BOTH = BOTH.replace("raw = ", "open(sys.argv[2], 'rb').read(9)\nraw = ")


def test_a_script_is_certified_from_the_command_line(tmp_path, capsys):
    script = tmp_path / "wrapper.py"
    script.write_text(SCRIPT)
    line = f"{sys.executable} {script} {{image}} {{click_voxel}} {{mask}}"
    status = main(["certify", line, "-o", str(tmp_path / "page.md")])
    said = capsys.readouterr().out
    assert status == 0 and "No alarm in 8 canaries and 11 calls" in said
    assert (tmp_path / "page.md").read_text().startswith("# Certificate of")
    assert main(["certify", line, "--takes", "text", "--scene", "phantom"]) == 2
    assert "is not given the text" in capsys.readouterr().err


def test_the_own_systems_pass_behind_files(tmp_path, capsys):
    assert main(["certify", "region_growing", "-o", str(tmp_path / "page.html")]) == 0
    assert "No alarm" in capsys.readouterr().out
