"""What a training step is made of: clicks, patches, bodies, rates, memory; settings and recipes refused in words."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from umdlib.cohort import read_cohort
from umdlib.errors import InputError
from umdlib.networks.inputs import OUTSIDE
from umdlib.training import bodies, clicks, domains, patches, promptable, sessions
from umdlib.training.nnunet import plan, raw, recipes
from umdlib.training.nnunet import train as specialist


def rng(seed=0):
    return np.random.default_rng(seed)


def body(subject="sub-001", session="petct", labels=None) -> bodies.Body:
    """Images whose channels are known numbers: 0.2 and -0.4 of the structural one, 0.6 and 0.8 of PET."""
    if labels is None:
        labels = np.zeros((20, 20, 20), np.uint8)
        labels[4:8, 4:8, 4:8], labels[10:16, 8:14, 9:15] = 1, 3
    structural = {"petct": "CT", "petmr": "MR"}[session]

    def image(wide, narrow):
        return np.stack([np.full(labels.shape, v, np.float16) for v in (wide, narrow)])

    return bodies.Body(subject, session, {structural: image(0.2, -0.4), "PET": image(0.6, 0.8)}, labels)


# clicks


@pytest.mark.parametrize(("most", "rounds"), [(1, 1), (1, 3), (20, 1), (20, 2), (20, 5), (6, 6), (6, 9)])
def test_a_plan_of_clicks_begins_with_one_grows_and_keeps_to_its_rounds(most, rounds):
    seen = set()
    for n in range(200):
        given = clicks.totals(rng(n), most=most, rounds=rounds)
        assert given[0] == 1 and len(given) <= rounds and given[-1] <= most
        assert all(b > a for a, b in pairwise(given))
        if rounds >= most:
            assert given == list(range(1, given[-1] + 1))
        seen.add(given[-1])
    if rounds > 1:
        assert seen == set(range(1, most + 1))
    few = [clicks.totals(rng(n), most=20, rounds=4) for n in range(100)]
    assert all(b - a <= 3 for g in few for a, b in pairwise(g[:-1]))


@pytest.mark.parametrize(("rounds", "most"), [(1, 1), (5, 1), (5, 2), (20, 3), (4, 9), (6, 0)])
def test_graded_rounds_are_the_last_then_the_first_then_others(rounds, most):
    found = clicks.graded(rng(2), rounds, most)
    assert found <= set(range(rounds)) and rounds - 1 in found
    assert len(found) == (min(most, rounds) if most else rounds)
    assert (0 in found) == (most != 1 or rounds == 1)


def test_error_clicks_are_different_voxels_and_the_first_lies_in_its_structure():
    target, found = (rng(n).random((5, 5, 5)) < 0.5 for n in (1, 2))
    given = clicks.error_clicks(target, found, 30, rng())
    assert len({tuple(c[:3]) for c in given}) == 30 and given.dtype == np.int64
    assert len(clicks.error_clicks(target, found, 10**4, rng())) == (target != found).sum()
    assert {bool(target[tuple(clicks.first_click(target, rng(n))[0, :3])]) for n in range(30)} == {True}
    assert clicks.click_at((3, 1, 2)).tolist() == [[3, 1, 2, 1]]


# patches and bodies


def test_a_patch_is_its_image_changed_by_a_factor_and_an_offset_of_a_tenth_at_most():
    for n in range(30):
        patch = patches.draw_patch([body()], "structural", rng(n), size=16)
        inside = patch.image[0] > OUTSIDE + 0.2
        wide, narrow = patch.image[0][inside], patch.image[1][inside]
        assert np.ptp(wide) < 1e-6 and np.ptp(narrow) < 1e-6
        assert abs(wide[0] - 0.2) <= 0.1 * 0.2 + 0.1 + 1e-3 and abs(narrow[0] + 0.4) <= 0.14 + 1e-3
        assert patch.targets[0][patch.middle] and patch.modality == "CT"
        assert patch.values[0] in (1, 3) and patch.image.dtype == np.float32


def test_half_of_the_patches_are_mirrored_and_labels_with_them():
    """A structure that lies low in x of the body, and a gradient along x of its image."""
    labels = np.zeros((24, 16, 16), np.uint8)
    labels[9:15, 5:11, 5:11] = 1
    one = body(labels=labels)
    ramp = np.linspace(-0.5, 0.5, 24, dtype=np.float16)[:, None, None]
    one.images["CT"][:] = ramp
    signs = Counter()
    for n in range(60):
        patch = patches.draw_patch([one], "structural", rng(n), size=16, centred=True)
        known = patch.image[0] > OUTSIDE + 0.3
        x = np.argwhere(known)[:, 0]
        signs[np.polyfit(x, patch.image[0][known], 1)[0] > 0] += 1
        assert patch.middle[0] in (7, 8)
    assert min(signs.values()) > 15


def test_a_structure_of_a_few_voxels_is_not_prompted_beside_another_and_prompts_are_no_more_than_wanted():
    labels = np.zeros((20, 20, 20), np.uint8)
    for value in range(1, 6):
        labels[4 * value - 2, 4:12, 4:12] = value
    labels[10, 5, 5] = 9
    seen = Counter()
    for n in range(80):
        patch = patches.draw_patch([body(labels=labels)], "pet", rng(n), size=24, prompts=3)
        assert len(patch.values) <= 3 and len(set(patch.values)) == len(patch.values)
        seen.update(patch.values[1:])
        for value, target in zip(patch.values[1:], patch.targets[1:], strict=True):
            assert target.sum() >= 12 and value != 9
    assert set(seen) == {1, 2, 3, 4, 5}


def test_a_body_without_a_structure_stops_a_patch():
    empty = body(labels=np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match="sub-001 petct holds no structure to train on."):
        patches.draw_patch([empty], "both", rng())


@pytest.mark.parametrize(
    ("trained_on", "session", "seen"),
    [
        ("structural", "petmr", ("MR",)),
        ("pet", "petct", ("PET",)),
        ("both", "petct", ("CT", "PET")),
        ("pair", "petmr", ("MR", "PET")),
    ],
)
def test_what_a_training_sees_of_an_examination(trained_on, session, seen):
    assert patches.modalities(trained_on, session) == seen


def test_a_body_is_kept_until_one_of_its_files_changes(make_cohort, tmp_path):
    manifest = make_cohort(2)
    first = bodies.read_bodies(read_cohort(manifest), cache=tmp_path / "kept")
    assert [b.subject for b in first] == ["sub-001", "sub-002"]
    files = sorted((tmp_path / "kept").glob("*.npz"))
    assert [f.name for f in files] == ["sub-001_petct.npz", "sub-002_petct.npz"]
    written = [f.stat().st_mtime_ns for f in files]
    lines = []
    again = bodies.read_bodies(read_cohort(manifest), cache=tmp_path / "kept", say=lines.append)
    assert [f.stat().st_mtime_ns for f in files] == written
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        assert all(np.array_equal(a.images[m], b.images[m]) for m in ("CT", "PET"))
        assert a.images["PET"].dtype == np.float16 and a.labels.shape == a.images["CT"].shape[1:]
    assert lines[0] == f"sub-001 petct: {first[0].labels.shape}, 2 structures"
    case = read_cohort(manifest).cases[0]
    case.image.write_bytes(case.image.read_bytes())  # as many bytes, a later time
    bodies.read_bodies(read_cohort(manifest), cache=tmp_path / "kept")
    now = [f.stat().st_mtime_ns for f in files]
    assert now[0] > written[0] and now[1] == written[1]


def test_structures_that_are_withheld_are_background_and_the_body_that_was_given_stays():
    given = body()
    hidden = bodies.withheld(given, [3])
    assert (given.present, hidden.present) == ([1, 3], [1])
    assert hidden.labels.dtype == given.labels.dtype and hidden.images is given.images


# settings, rates, memory


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": "clicknt"}, "Unknown network 'clicknt'"),
        ({"trained_on": "petct"}, "Unknown training 'petct'"),
        ({"precision": "float16"}, "Unknown precision 'float16'"),
        ({"steps": 0}, "Invalid steps 0. Must be 1 or more."),
        ({"clicks": -3}, "Invalid clicks -3. Must be 1 or more."),
        ({"graded": -1}, "Invalid graded -1. Must be 0 or more."),
        ({"batch": 2}, "Invalid prompts 4. Must be 1 where a batch has several patches"),
        ({"centred": True}, "Invalid prompts 4. Must be 1 where a batch has several patches"),
        ({"patch": 12}, "Invalid patch 12. Must be a multiple of 8, 16 or more."),
        ({"patch": 36}, "Invalid patch 36. Must be a multiple of 8, 16 or more."),
    ],
)
def test_settings_out_of_range_are_refused(changes, sentence):
    with pytest.raises(InputError) as error:
        replace(promptable.Settings(), **changes).check()
    assert str(error.value).startswith(sentence)
    assert promptable.Settings().check() == promptable.Settings()


def test_a_rate_rises_in_a_twentieth_and_falls_as_a_cosine():
    settings = promptable.Settings(steps=200, learning_rate=2.0)
    rates = np.array([promptable.rate(settings, n) for n in range(1, 201)])
    np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11))
    np.testing.assert_allclose(rates[9:], 1 + np.cos(np.pi * np.arange(191) / 190))
    assert promptable.rate(replace(settings, steps=1), 1) == 2.0


def test_memory_grows_with_the_voxels_the_batch_and_the_graded_rounds():
    base = promptable.Settings(patch=32, prompts=4, rounds=2)
    need = promptable.memory_mb(base)
    assert need == pytest.approx(32**3 * (1200 + 700 * 4 * 2) / 1e6)
    assert promptable.memory_mb(replace(base, patch=64)) == pytest.approx(8 * need)
    assert promptable.memory_mb(replace(base, batch=3)) == pytest.approx(3 * need)
    assert promptable.memory_mb(replace(base, rounds=20, graded=2)) == pytest.approx(need)


def test_settings_of_a_smoke_test_are_small_and_keep_what_was_chosen():
    chosen = sessions.settings_of("sam_med3d_small", smoke=True, trained_on="pet", seed=4)
    assert (chosen.trained_on, chosen.seed, chosen.steps, chosen.network) == ("pet", 4, 4, "sam_med3d_small")
    assert chosen.check().widths == (8, 16) and chosen.rounds == 4
    assert sessions.settings_of("clicknet", steps=77).steps == 77
    assert sessions.settings_of("clicknet").steps == promptable.Settings().steps
    with pytest.raises(InputError, match="Did you mean 'clicknet'"):
        sessions.settings_of("clicknit")


def test_a_checkpoint_belongs_to_its_settings_and_its_labels():
    settings = promptable.Settings()
    first = promptable.fingerprint(settings, [body()])
    assert first == json.loads(json.dumps(first)) == promptable.fingerprint(settings, [body()])
    labels = body().labels.copy()
    labels[0, 0, 0] = 1
    for other in ([body(labels=labels)], [body("sub-002")], [body(session="petmr")], [body(), body()]):
        assert promptable.fingerprint(settings, other)["bodies"] != first["bodies"]
    assert promptable.fingerprint(replace(settings, seed=1), [body()]) == first | {"seed": 1}


def test_networks_and_what_they_are_trained_on_have_one_list():
    assert set(sessions.NETWORKS) == set(promptable.NETWORKS)
    assert set(sessions.TRAINED_ON) == set(patches.TRAINED_ON)


# specialists


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("smal", {}, "Did you mean 'small'"),
        ("small", {"epochs": 0}, "Invalid epochs 0. Must be 1 or more."),
        ("full", {"threads": -2}, "Invalid threads -2. Must be 1 or more."),
    ],
)
def test_a_recipe_out_of_range_is_refused(name, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        recipes.recipe(name, **changes)


def test_a_network_gets_a_patch_that_it_divides_and_no_more_and_its_time():
    for network, multiple in (("nnunet", 1), ("segresnet", 8), ("swinunetr", 16), ("stunet", 8)):
        made = recipes.for_network(recipes.recipe("small"), network)
        for given, grown in zip((72, 48, 80), made.patch, strict=True):
            assert grown % multiple == 0 and given <= grown < given + multiple
        assert made.epochs == (250 if network == "segresnet" else 100)
    assert recipes.for_network(recipes.recipe("small", epochs=7), "segresnet").epochs == 7
    assert recipes.divisible((80, 100, 129), "swinunetr", small=False) == (96, 128, 160)
    with pytest.raises(InputError, match="Unknown network 'unet'"):
        recipes.for_network(recipes.recipe("small"), "unet")


def test_a_smaller_plan_has_the_recipes_stages_and_leaves_the_given_one_alone():
    fullres = {"architecture": {"arch_kwargs": {"n_stages": 6, "conv_bias": True}}, "normalization": "Z"}
    before = json.dumps(fullres)
    made = plan.smaller(fullres, recipes.RECIPES["small"])
    kwargs = made["architecture"]["arch_kwargs"]
    assert json.dumps(fullres) == before and made["normalization"] == "Z" and kwargs["conv_bias"]
    assert kwargs["n_stages"] == len(kwargs["features_per_stage"]) == len(kwargs["strides"]) == 4
    assert kwargs["strides"][0] == [1, 1, 1] and kwargs["n_conv_per_stage"] == [1, 2, 2, 2]
    assert kwargs["n_conv_per_stage_decoder"] == [2, 2, 1]
    assert made["resampling_fn_seg_kwargs"]["is_seg"] and not made["resampling_fn_data_kwargs"]["is_seg"]
    odd = replace(recipes.RECIPES["small"], patch=(72, 48, 81))
    with pytest.raises(
        InputError, match=r"Patch \(72, 48, 81\) of recipe 'small' is not divisible by 8, as 4 stages"
    ):
        plan.smaller(fullres, odd)


def test_an_examination_of_one_image_trains_no_network_of_two(make_cohort):
    cohort = read_cohort(make_cohort(2))
    cases = raw.training_cases(cohort, "petct", "CT", subjects=2)
    partners = raw.partners_of(cohort, cases)
    assert [partners[c.subject].modality for c in cases] == ["PET", "PET"]
    lone = replace(
        cohort, cases=tuple(c for c in cohort.cases if (c.subject, c.modality) != ("sub-002", "PET"))
    )
    with pytest.raises(InputError, match="sub-002 petct of .* has CT alone. A network of two images"):
        raw.partners_of(lone, cases)


def test_a_folder_without_a_training_and_one_of_another_are_told_apart(tmp_path):
    with pytest.raises(InputError, match=r"holds no training: request.json is missing."):
        specialist.read_request(tmp_path)
    request = {
        "session": "petct",
        "modality": "CT",
        "recipe": {"configuration": "3d_small"},
        "files": "x" * 80,
    }
    specialist._claim(tmp_path / "work", request)
    specialist._claim(tmp_path / "work", request)  # the same again: it goes on
    assert specialist.read_request(tmp_path / "work") == request
    with pytest.raises(
        InputError, match=r'another training run: modality is "CT" there and "PET" here. Take an empty'
    ):
        specialist._claim(tmp_path / "work", request | {"modality": "PET"})
    with pytest.raises(InputError, match='files is "x{56}… there'):
        specialist._claim(tmp_path / "work", request | {"files": "y"})
    with pytest.raises(InputError, match="Training of nnunet in .* is not finished"):
        specialist.model_folder(tmp_path / "work")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("print('umdlib: The plan does not fit.'); raise SystemExit(2)", "^The plan does not fit.$"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "was killed \\(signal 9\\). The same command resumes",
        ),
        ("print('a'); print('b'); raise SystemExit(3)", "stopped with status 3: a | b"),
    ],
)
def test_a_training_process_that_ends_badly_becomes_one_sentence(tmp_path, monkeypatch, code, sentence):
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {specialist.sys.executable} -S -u -c "{code}"\n')
    script.chmod(0o755)
    monkeypatch.setattr(specialist.sys, "executable", str(script))
    with pytest.raises(InputError, match=sentence.replace("|", r"\|")):
        specialist._in_process(tmp_path, "nnunet", lambda line: None)


# domains


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"session": "petctt"}, "Did you mean 'petct'"),
        ({"names": []}, "No domain is named. Known: same, still, scanner"),
        (
            {"names": ["organ_maps"], "maps": ["one.nii.gz"]},
            "Domain 'organ_maps' needs 2 label maps, 1 were given.",
        ),
    ],
)
def test_a_domain_that_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path, options, sentence):
    with pytest.raises(InputError, match=sentence):
        domains.write_domains(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_every_domain_names_factors_and_tissues_that_exist():
    person = domains.draw_person(rng())
    for name, domain in domains.DOMAINS.items():
        domains.factors(domain.factors)
        scaled = domains.scaled(person, domain.uptake)
        changed = {k for k in scaled if scaled[k] != person.uptake_suv[k]}
        assert changed == set(domain.uptake), name
        for k, factor in domain.uptake.items():
            assert scaled[k] == pytest.approx(factor * person.uptake_suv[k], abs=6e-4)
        assert domain.title and domain.words
