"""nnU-Net folders: axes of the plans' reader, a network per condition, the size that was trained."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.images.partner import onto
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
from umdlib.segmenters.preparation import network, nnunet  # noqa: E402

LPS = np.diag([-3.0, -2.5, 4.0, 1.0])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("zx", (25, -14), degrees=True).as_matrix() @ [
    [0, -2.5, 0],
    [3.0, 0, 0],
    [0, 0, -4.0],
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes trained folders with random weights below the weights folder."""
    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))

    def write(place: str, *, seed: int = 0, state: dict | None = None, **plan):
        plans, dataset = nnunet.tiny_model()
        root = tmp_path / place
        (root / "fold_all").mkdir(parents=True)
        (root / "plans.json").write_text(json.dumps(plans | plan), "utf-8")
        (root / "dataset.json").write_text(json.dumps(dataset), "utf-8")
        if state is None:
            state = nnunet.random_state(plans, dataset)
            with network.seeded(seed):
                for tensor in state["network_weights"].values():
                    tensor += 0.1 * torch.randn_like(tensor)
        torch.save(state, root / "fold_all" / nnunet.CHECKPOINT)
        return root

    return write


def image(affine) -> Volume:
    data = np.random.default_rng(0).normal(0, 100, (34, 38, 30)).astype(np.float32)
    return Volume(data, affine, "HU", "noise")


@pytest.mark.parametrize("affine", [LPS, OBLIQUE], ids=["LPS", "oblique"])
@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", *nnunet.TURNING])
def test_the_record_reads_axes_as_its_plans_do(folder, reader, affine):
    root = folder("nnunet/petct_ct", image_reader_writer=reader)
    given = image(affine)
    mask = segmenters.load("nnunet", "cpu", ("petct", "CT"))(given, Prompt("liver"))
    turned = nib.Nifti1Image(given.data, affine)
    if reader in nnunet.TURNING:
        turned = nib.as_closest_canonical(turned)
    plans, dataset = nnunet.read_folder(root)
    states = [torch.load(root / "fold_all" / nnunet.CHECKPOINT, weights_only=True)]
    predictor = nnunet.predictor_of(plans, dataset, states)
    array = np.asarray(turned.dataobj).T[None]
    spacing = nib.affines.voxel_sizes(turned.affine)[::-1].tolist()
    labels = predictor.predict_single_npy_array(np.ascontiguousarray(array), {"spacing": spacing}).T
    there = nib.orientations.ornt_transform(nib.io_orientation(turned.affine), nib.io_orientation(affine))
    expected = nib.orientations.apply_orientation(labels, there) == 1
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(mask, expected)
    own = segmenters.load(f"nnunet:{root}")(given, Prompt("liver"))
    np.testing.assert_array_equal(mask, own)


def test_a_network_of_regions_answers_each_region_by_all_its_values(tmp_path):
    """Regions of nnU-Net hold each other: the mask of one is the union of its values in the package's own file."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    plans, dataset = nnunet.tiny_model()
    state = nnunet.random_state(plans, dataset | {"labels": {"one": 1, "two": 2}})  # one channel a region
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    dataset |= {"labels": labels, "regions_class_order": [1, 2]}
    root = tmp_path / "regions"
    (root / "fold_0").mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(plans), "utf-8")
    (root / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    torch.save(state, root / "fold_0" / nnunet.CHECKPOINT)
    record, given = segmenters.get(f"nnunet:{root}"), image(LPS)
    assert record.structures == ("whole", "core")
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(root), None, nnunet.CHECKPOINT)
    file = str(tmp_path / "case_0000.nii.gz")
    nib.save(nib.Nifti1Image(given.data, given.affine), file)
    (official,) = predictor.predict_from_files_sequential([[file]], None)
    segment = segmenters.load(record)
    for name, values in (("whole", (1, 2)), ("core", (2,))):
        expected = np.isin(official.T, values)
        assert 0 < expected.sum() < expected.size
        np.testing.assert_array_equal(segment(given, Prompt(name)), expected)


@pytest.mark.parametrize(
    ("order", "reader"),
    [(("CT", "PET"), "SimpleITKIO"), (("PET (SUV)", "CT"), "NibabelIOWithReorient")],
    ids=["CT first", "PET first, turned"],
)
def test_two_images_are_channels_as_the_packages_own_predictor_reads_them(tmp_path, order, reader):
    """Files on one grid, as nnU-Net wants them, through its own predictor, reader and preprocessing."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    root = two_channel_folder(tmp_path / "model", order, reader)
    pet = Volume(np.abs(image(LPS).data) / 50, LPS, "SUV", "pet")
    ct = image(OBLIQUE)
    record = segmenters.get(f"nnunet:{root}")
    assert record.partner == record.modalities and set(record.partner) == {"CT", "PET"}
    segment = segmenters.load(record)
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(root), None, nnunet.CHECKPOINT)
    for asked, partner in ((pet, ct), (ct, pet)):
        there = onto(asked, partner)
        data = {
            "PET" if asked.unit == "SUV" else "CT": asked.data,
            "CT" if asked.unit == "SUV" else "PET": there,
        }
        files = []
        for number, name in enumerate(order):
            files.append(str(tmp_path / f"case_{number:04d}.nii.gz"))
            nib.save(nib.Nifti1Image(data[name.split()[0]].astype(np.float32), asked.affine), files[-1])
        (official,) = predictor.predict_from_files_sequential([files], None)
        if reader in nnunet.TURNING:  # the package gives the array in RAS; its writer turns it back
            turned = nib.as_closest_canonical(nib.load(files[0])).affine
            there = nib.orientations.ornt_transform(
                nib.io_orientation(turned), nib.io_orientation(asked.affine)
            )
            official = nib.orientations.apply_orientation(official.T, there)
        else:
            official = official.T
        for name, value in (("liver", 1), ("spleen", 2)):
            mask = segment(asked, Prompt(name), partner=partner)
            assert 0 < mask.sum() < mask.size
            np.testing.assert_array_equal(mask, official == value)
    assert (
        segment(ct, Prompt("liver"), partner=pet) != segment(ct, Prompt("liver"), partner=dimmed(pet))
    ).any()


def two_channel_folder(root, order, reader="SimpleITKIO"):
    """A trained folder of two channels with random weights."""
    plans, dataset = nnunet.tiny_pair_model(order, reader)
    (root / "fold_0").mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(plans), "utf-8")
    (root / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    state = nnunet.random_state(plans, dataset)
    torch.save(state, root / "fold_0" / nnunet.CHECKPOINT)
    return root


def dimmed(pet):
    return Volume(pet.data[::-1].copy(), pet.affine, pet.unit, pet.name)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"0": "CT", "1": "CT"}, "named CT and CT; one must be PET and the other CT or MR. Rename them"),
        ({"0": "noNorm", "1": "PET"}, "named noNorm and PET"),
        ({"0": "CT", "1": "PET", "2": "MR"}, "takes 3 channels, not 1 or 2"),
    ],
)
def test_channels_that_are_not_one_image_or_a_pair_are_refused_in_words(tmp_path, names, words):
    root = two_channel_folder(tmp_path, ("CT", "PET"))
    about = json.loads((root / "dataset.json").read_text()) | {"channel_names": names}
    (root / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=words):
        segmenters.get(f"nnunet:{root}")


def test_each_session_and_modality_has_a_network_of_its_own(folder):
    folder("nnunet/petct_ct", seed=1)
    folder("nnunet/petct_pet", seed=2)
    given = image(LPS)
    masks = [segmenters.load("nnunet", "cpu", ("petct", m))(given, Prompt("liver")) for m in ("CT", "PET")]
    assert (masks[0] != masks[1]).any()
    assert segmenters.availability("nnunet").ok
    with pytest.raises(InputError, match=r"petmr_mr.*are not in"):
        segmenters.load("nnunet", "cpu", ("petmr", "MR"))
    assert not segmenters.availability("stunet").ok


def test_what_was_trained_at_full_size_loads_at_that_size(folder):
    pytest.importorskip("medim")
    from umdlib.networks.trainers import specialists

    plans, dataset = nnunet.tiny_model()
    configuration = nnunet.configuration_of(plans, "tiny")
    net = specialists.STUNetTrainer.build_network_architecture(
        None, configuration, 1, 3, enable_deep_supervision=False
    )
    state = {
        "network_weights": net.state_dict(),
        "trainer_name": "STUNetTrainer",
        "init_args": {"configuration": "tiny"},
        "inference_allowed_mirroring_axes": None,
    }
    folder("stunet/petct_ct", state=state)
    loaded = segmenters.get("stunet").load("cpu", ("petct", "CT"))._predictor.network
    assert 14e6 < sum(p.numel() for p in loaded.parameters()) < 15e6
    assert torch.equal(next(loaded.parameters()), next(net.parameters()))


def _named(root, *rows, columns="file value name structure"):
    """A table of names in a folder; cells are apart by spaces."""
    lines = [columns, *rows]
    (root / "names.tsv").write_text("".join("\t".join(line.split()) + "\n" for line in lines), "utf-8")


def test_a_structure_may_be_the_union_of_values(folder):
    root = folder("mine/nnUNetTrainer__tiny__tiny")
    given = image(LPS)
    liver, spleen = (segmenters.load(f"nnunet:{root}")(given, Prompt(n)) for n in ("liver", "spleen"))
    assert liver.any()
    assert spleen.any()
    _named(root, "1 liver abdomen", "* spleen abdomen", columns="value name structure")
    record = segmenters.get(f"nnunet:{root}")
    assert record.structures == ("abdomen",)
    np.testing.assert_array_equal(segmenters.load(record)(given, Prompt("abdomen")), liver | spleen)


def test_several_folders_are_one_model_and_each_may_serve_one_modality(folder):
    one, two = (folder(f"several/{n}", seed=s) for n, s in (("one", 1), ("two", 2)))
    given = image(LPS)
    alone = {f.name: segmenters.load(f"nnunet:{f}") for f in (one, two)}
    _named(one.parent, "one 1 liver liver", "one 2 spleen -", "two 1 liver liver", "two 2 spleen spleen")
    model = segmenters.load(f"nnunet:{one.parent}")
    expected = alone["one"](given, Prompt("liver")) | alone["two"](given, Prompt("liver"))
    np.testing.assert_array_equal(model(given, Prompt("liver")), expected)
    np.testing.assert_array_equal(model(given, Prompt("spleen")), alone["two"](given, Prompt("spleen")))
    columns = "file value name structure modality"
    _named(one.parent, "one 1 liver liver CT,MR", "two 1 liver liver PET", columns=columns)
    record = segmenters.get(f"nnunet:{one.parent}")
    assert record.conditions == nnunet.CONDITIONS
    for condition, name in ((("petmr", "MR"), "one"), (("petmr", "PET"), "two")):
        mask = segmenters.load(record, "cpu", condition)(given, Prompt("liver"))
        np.testing.assert_array_equal(mask, alone[name](given, Prompt("liver")))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["one 9 liver liver"], r"names.tsv describes value 9 of one, which no dataset.json"),
        (["one * livre liver"], r"names.tsv describes the name 'livre', which no dataset.json"),
        (["one 1 liver -"], r"names no structure"),
        (["* 1 liver liver"], r"Column 'file' of .*names.tsv has \*: it must name the trained folder"),
        (["one 1 kidneys kidney_left|kidney_right"], r"line 2 is two organs in one value"),
        (["other 1 liver liver"], r"other/plans.json does not exist"),
    ],
)
def test_a_table_that_does_not_fit_its_folders_is_refused(folder, rows, sentence):
    root = folder("several/one").parent
    with pytest.raises(InputError, match=r"holds no plans.json but 1 trained folders below it, such as one"):
        segmenters.get(f"nnunet:{root}")
    _named(root, *rows)
    with pytest.raises(InputError, match=sentence):
        segmenters.get(f"nnunet:{root}")


def test_an_unknown_modality_in_a_table_is_refused(folder):
    root = folder("several/one").parent
    columns = "file value name structure modality"
    _named(root, "one 1 liver liver CTx", columns=columns)
    with pytest.raises(InputError, match=r"Unknown modality in .*names.tsv line 2 'CTx'"):
        segmenters.get(f"nnunet:{root}")
    _named(root, "one 1 liver liver CT", "one 2 spleen spleen PET", columns=columns)
    with pytest.raises(
        InputError, match=r"line 3 gives folder 'one' the modality 'PET', an earlier line 'CT'"
    ):
        segmenters.get(f"nnunet:{root}")


def _edited(root, file, change):
    """Change the JSON file of a trained folder in place."""
    content = json.loads((root / file).read_text("utf-8"))
    change(content)
    (root / file).write_text(json.dumps(content), "utf-8")


def test_a_folder_of_version_1_is_refused(folder):
    root = folder("old/one")
    (root / "plans.json").rename(root / "plans.pkl")
    with pytest.raises(InputError, match=r"plans.pkl is a plan of nnU-Net version 1, a pickle"):
        segmenters.get(f"nnunet:{root}")
    (root / "plans.pkl").rename(root / "plans.json")
    torch.save({"state_dict": {}, "epoch": 1}, root / "fold_all" / nnunet.CHECKPOINT)
    with pytest.raises(InputError, match=r"holds no 'network_weights'.*checkpoint of version 1"):
        segmenters.load(f"nnunet:{root}")


def test_a_folder_without_its_data_set_is_refused(folder):
    root = folder("bare/one")
    _edited(root, "plans.json", lambda p: p.pop("transpose_forward"))
    with pytest.raises(
        InputError, match=r"plans.json lacks 'transpose_forward', which nnU-Net version 2 writes"
    ):
        segmenters.get(f"nnunet:{root}")
    (root / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"dataset.json does not exist"):
        segmenters.get(f"nnunet:{root}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preprocessor_name", "PreprocessorOf2030"),
        ("resampling_fn_data", "resample_of_2030"),
        ("normalization_schemes", ["Scheme2030"]),
        ("architecture", {"network_class_name": "nets.Of2030", "arch_kwargs": {}, "_kw_requires_import": []}),
    ],
)
def test_plans_of_a_newer_version_are_refused_with_file_value_and_version(folder, key, value):
    root = folder("newer/one")
    _edited(root, "plans.json", lambda p: p["configurations"]["tiny"].update({key: value}))
    with pytest.raises(
        InputError, match=r"plans.json asks for \w+ '\w*\.?\w*2030', which nnunetv2 [\d.]+ does"
    ):
        segmenters.load(f"nnunet:{root}")


def test_plans_in_the_form_of_the_first_versions_are_read(folder, recwarn):
    """TotalSegmentator's and MRSegmentator's published plans name their network so."""
    old = {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "num_pool_per_axis": [1, 1, 1],
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3]] * 2,
    }
    plans, dataset = nnunet.tiny_model()
    plans["configurations"]["tiny"].pop("architecture")
    plans["configurations"]["tiny"] |= old
    state = nnunet.random_state(plans, dataset)
    root = folder("first/one", state=state, configurations=plans["configurations"])
    mask = segmenters.load(f"nnunet:{root}")(image(LPS), Prompt("liver"))
    assert mask.shape == image(LPS).shape
    assert not [w for w in recwarn if "old nnU-Net plans" in str(w.message)]


def test_a_cascade_an_unknown_trainer_and_other_plans_are_refused(folder):
    root = folder("odd/one")
    _edited(root, "plans.json", lambda p: p["configurations"]["tiny"].update(previous_stage="3d_lowres"))
    with pytest.raises(InputError, match=r"'tiny' goes on from '3d_lowres', a cascade"):
        segmenters.load(f"nnunet:{root}")
    plans, dataset = nnunet.tiny_model()
    trainer = nnunet.random_state(plans, dataset) | {"trainer_name": "nnUNetTrainerOf2030"}
    other = nnunet.random_state(plans, dataset) | {"init_args": {"configuration": "3d_fullres"}}
    with pytest.raises(InputError, match=r"Trainer 'nnUNetTrainerOf2030' is neither"):
        segmenters.load(f"nnunet:{folder('odd/two', state=trainer)}")
    with pytest.raises(InputError, match=r"configuration '3d_fullres', and .*plans.json has tiny"):
        segmenters.load(f"nnunet:{folder('odd/three', state=other)}")


def test_a_table_of_names_is_not_for_a_network_of_two_images(folder):
    root = folder("pair/one")
    _edited(root, "dataset.json", lambda d: d.update(channel_names={"0": "CT", "1": "PET"}))
    _named(root, "1 liver liver", columns="value name structure")
    with pytest.raises(
        InputError, match=r"pair/one takes two images. A names.tsv is for networks of one image"
    ):
        segmenters.get(f"nnunet:{root}")
