"""Persons, the shapes that a body is painted with, lesions, and the ranges of the literature."""

from __future__ import annotations

import json

import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.labels import ORGANS
from umdlib.synthetic import Settings
from umdlib.synthetic.anatomy import canvas as shapes
from umdlib.synthetic.anatomy.body import arms, capsule, profile, section, sex_table
from umdlib.synthetic.anatomy.bowel import coil
from umdlib.synthetic.anatomy.canvas import Canvas, Frame, draw_frame
from umdlib.synthetic.anatomy.coordinates import _LINES, line
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.lesions import draw_lesions, lay, lesion_map
from umdlib.synthetic.anatomy.noise import SplineField
from umdlib.synthetic.anatomy.person import SHAPES, draw_person
from umdlib.synthetic.anatomy.skeleton import rib
from umdlib.synthetic.anatomy.thorax import grow
from umdlib.synthetic.anatomy.tissue import CODES, label_of_code
from umdlib.synthetic.limits import anatomy_spacing
from umdlib.synthetic.literature import READINGS, TISSUE, UPTAKE, VOLUMES, ranges_table
from umdlib.synthetic.truth import read_record, record_path


def rng(seed=0):
    return np.random.default_rng(seed)


def plain(shape=(40, 40, 40), step=2.0) -> Canvas:
    """A canvas whose reference coordinates are its world's, around the origin."""
    half = step * (np.array(shape) - 1) / 2
    return Canvas(Frame((1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)), -half, half, step)


# persons


def test_a_person_is_its_generators_and_what_is_given_is_not_drawn():
    assert draw_person(rng(4)) == draw_person(rng(4)) != draw_person(rng(5))
    free, fixed = draw_person(rng(4)), draw_person(rng(4), arms="up", bmi=30.0, height_cm=160.0)
    assert (fixed.arms, fixed.height_cm, round(fixed.bmi, 1)) == ("up", 160.0, 30.0)
    # the rest is drawn as before
    for trait in ("sex", "age", "uptake_suv", "fasting", "shape_seed", "shape"):
        assert getattr(free, trait) == getattr(fixed, trait)
    assert set(free.shape) == set(SHAPES)
    assert json.loads(json.dumps(free.record()))["bmi"] == round(free.bmi, 2)


def test_organs_of_a_woman_are_smaller_by_what_the_source_says():
    """Same draws, same size: the ratio is the record's, where neither volume is cut."""
    for seed in range(20):
        woman, man = (draw_person(rng(seed), sex=s, bmi=25, height_cm=172) for s in "FM")
        for name, record in VOLUMES.items():
            a, b = woman.volumes_ml[name], man.volumes_ml[name]
            if record.low < a and b < record.high:
                assert a / b == pytest.approx(record.female, abs=0.01), name


def test_organs_grow_with_the_body_by_their_power_and_the_brain_hardly():
    small, large = (draw_person(rng(7), sex="M", bmi=25, height_cm=h) for h in (160, 180))
    for name in ("heart", "spleen", "brain", "urinary_bladder"):
        record, ratio = VOLUMES[name], large.volumes_ml[name] / small.volumes_ml[name]
        assert record.low < small.volumes_ml[name] and large.volumes_ml[name] < record.high
        assert ratio == pytest.approx((180 / 160) ** (2 * record.size_power), rel=2e-3), name


def test_every_person_lies_within_the_records_and_a_fasting_heart_is_cold():
    people = [draw_person(rng(n)) for n in range(120)]
    for who in people:
        assert 20 <= who.age <= 88
        for name, record in VOLUMES.items():
            assert record.low - 0.05 <= who.volumes_ml[name] <= record.high + 0.05
        for name, record in UPTAKE.items():
            assert record.low - 5e-4 <= who.uptake_suv[name] <= record.high + 5e-4
        heart = who.uptake_suv["myocardium"]
        assert 1.6 <= heart <= 3.0 if who.fasting else 5 <= heart <= 12
    assert sum(p.fasting for p in people) / 120 == pytest.approx(0.55, abs=0.15)
    women, men = ([p.height_cm for p in people if p.sex == s] for s in "FM")
    assert np.mean(men) - np.mean(women) == pytest.approx(13, abs=4)


def test_a_heavy_mans_belly_and_a_womans_hips_stand_out():
    table = line("trunk")
    men = [sex_table(draw_person(rng(1), sex="M", bmi=b, height_cm=175), table) for b in (24, 34)]
    woman = sex_table(draw_person(rng(1), sex="F", bmi=24, height_cm=175), table)
    belly, hip, shoulder = (int(np.argmin(np.abs(table[:, 0] - z))) for z in (1080, 920, 1370))
    assert men[1][belly, 2] - men[0][belly, 2] > 20
    assert men[1][hip, 1] - men[0][hip, 1] < 10 < men[1][belly, 1] - men[0][belly, 1]
    assert woman[hip, 1] > men[0][hip, 1] and woman[shoulder, 1] < men[0][shoulder, 1]


def test_arms_hang_beside_the_body_or_lie_above_the_head_and_are_mirrored():
    for posture, end in (("down", 700), ("up", 1850)):
        person = draw_person(rng(2), arms=posture, bmi=30)
        (right, thick), (left, thick_left) = arms(person, 1), arms(person, -1)
        np.testing.assert_array_equal(right * [-1, 1, 1], left)
        np.testing.assert_array_equal(thick, thick_left)
        assert right[-1, 2] == end and (right[:, 0] > 0).all()
    slim, heavy = (arms(draw_person(rng(2), bmi=b), 1)[0] for b in (20, 36))
    assert heavy[4, 0] - slim[4, 0] == pytest.approx(0.9 * 14 * 2.2, rel=1e-3)


# shapes


def test_coordinates_are_tables_of_numbers_and_their_copies_are_ones_own():
    for name, points in _LINES.items():
        assert points.ndim == 2 and np.isfinite(points).all(), name
    before = line("aorta")
    line("aorta")[:] = 0
    np.testing.assert_array_equal(line("aorta"), before)
    np.testing.assert_array_equal(line("psoas", -1)[:, 1:], line("psoas")[:, 1:])
    np.testing.assert_array_equal(line("psoas", -1)[:, 0], -line("psoas")[:, 0])


def test_a_ball_and_a_capsule_are_as_far_as_geometry_says():
    w = plain().whole()
    far = np.sqrt(w.x**2 + w.y**2 + w.z**2)
    np.testing.assert_allclose(shapes.ellipsoid(w, (0, 0, 0), (15, 15, 15)), far - 15, atol=1e-3)
    np.testing.assert_allclose(capsule(w, (0, 0, 0), (0, 0, 0), 9, 9), far - 9, atol=1e-3)
    stick = capsule(w, (-10, 0, 0), (10, 0, 0), 4, 4)
    beyond = np.maximum(np.abs(w.x) - 10, 0)
    np.testing.assert_allclose(stick, np.sqrt(beyond**2 + w.y**2 + w.z**2) - 4, atol=1e-3)


def test_an_ellipsoid_ends_where_its_axes_do_also_when_it_is_turned():
    w = plain().whole()
    frame = shapes.axes_along((1, 1, 0))
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    field = shapes.ellipsoid(w, (1, 1, 1), (24, 9, 9), frame)
    along = np.array([1, 1, 1]) + 24 * frame[0]
    across = np.array([1, 1, 1]) + 9 * frame[1]
    for point in (along, across):
        at = tuple(np.rint((point - [a[0] for a in w.canvas.axes_mm]) / 2).astype(int))
        assert abs(field[at]) < 2.0
    volume = (field < 0).sum() * 8
    assert volume == pytest.approx(4 / 3 * np.pi * 24 * 9 * 9, rel=0.05)


def test_a_rounded_union_holds_both_and_an_intersection_lies_in_both():
    w = plain().whole()
    a, b = shapes.ellipsoid(w, (-6, 0, 0), (12, 12, 12)), shapes.ellipsoid(w, (6, 0, 0), (12, 12, 12))
    union, both = shapes.smooth_min(a, b, 8), shapes.smooth_max(a, b, 8)
    assert (union <= np.minimum(a, b) + 1e-4).all() and (both >= np.maximum(a, b) - 1e-4).all()
    assert (np.minimum(a, b) - union).max() == pytest.approx(2, abs=0.15)  # a quarter of the width
    far = np.abs(a - b) > 8
    np.testing.assert_allclose(union[far], np.minimum(a, b)[far], atol=1e-5)


def test_a_level_gives_an_organ_its_volume_where_it_may_grow():
    w = plain().whole()
    field = shapes.ellipsoid(w, (0, 0, 0), (14, 14, 14))
    free = w.x > -5
    level = shapes.level_for(field, free, 1500)
    assert ((field < level) & free).sum() == pytest.approx(1500, abs=60)
    assert shapes.level_for(field, free, 10**6, most=7) == 7  # more than there is
    assert shapes.level_for(field, free, 1, most=3) == -3
    assert shapes.level_for(field, np.zeros_like(free), 5, most=4) == 4


def test_a_tube_has_its_radius_along_its_whole_line():
    canvas = plain()
    w = canvas.whole()
    points = np.array([[-25.0, 0, 0, 4], [0, 5, 0, 8], [25, 0, 0, 4]])
    field = canvas.strand(w, points, 30)
    for x, y, _, radius in points[:2]:
        i, j = (int(np.argmin(np.abs(a - v))) for a, v in zip(canvas.axes_mm, (x, y), strict=False))
        inside = (field[i, j] < 0).sum() * 2
        assert inside == pytest.approx(2 * radius, abs=3)
    assert field[0, 0, 0] == shapes.FAR  # too far to be measured
    joined = canvas.strand(w, points + [0, 0, 12, 0], 30, field.copy())
    assert (joined <= field).all() and (joined < field).any()


def test_a_curve_begins_and_ends_in_its_points_and_its_radius_never_overshoots():
    points = np.array([[0, 0, 0, 3], [10, 0, 0, 9], [10, 20, 0, 9], [0, 20, 5, 2.0]])
    made = shapes.curve(points, 200)
    np.testing.assert_allclose(made[[0, -1]], points[[0, -1]], atol=1e-9)
    assert made[:, 3].min() >= 2 and made[:, 3].max() <= 9 + 1e-9
    gap = np.linalg.norm(made[:, None, :3] - points[None, :, :3], axis=2).min(axis=0)
    assert gap.max() < 0.3  # through the inner ones too


def test_a_table_is_followed_through_its_rows_and_kept_beyond_its_ends():
    table = np.array([(0, 10), (50, 30), (100, 20.0)])
    (found,) = profile(np.array([-20, 0, 50, 100, 400], np.float32), table)
    np.testing.assert_allclose(found, [10, 10, 30, 20, 20], atol=1e-4)
    w = plain().whole()
    square = section(w, np.array([(-100, 20, 12, 16.0), (100, 20, 12, 16)]), power=2.0, y_middle=0)
    inside = np.where(w.y > 0, (w.x / 20) ** 2 + (w.y / 12) ** 2, (w.x / 20) ** 2 + (w.y / 16) ** 2) < 1
    assert ((square < 0) == inside).mean() > 0.999


def test_places_of_the_reference_body_are_found_again_in_the_world():
    person = draw_person(rng(1), height_cm=160)
    frame = draw_frame(person, rng(2))
    points = np.array([[60.0, 0, 1200], [-40, 30, 950], [0, -60, 1500]])
    for point, world in zip(points, frame.world(points), strict=True):
        back = [float(v.ravel()[0]) for v in frame.reference(*(np.array([c]) for c in world))]
        np.testing.assert_allclose(back, point, atol=0.1)


def test_windows_of_a_canvas_cover_it_once_and_paint_only_what_may_be_painted():
    canvas = plain((10, 10, 150))
    assert sum(w.tissue.size for w in canvas.slabs()) == canvas.tissue.size
    for n, w in enumerate(canvas.slabs(), start=1):
        w.tissue[:] = n
    assert np.array_equal(np.unique(canvas.tissue), [1, 2, 3])
    canvas.tissue[:] = CODES["fat"]
    canvas.tissue[:5] = CODES["muscle"]
    w = canvas.whole()
    canvas.paint(w, w.z > 0, "liver", shapes.over("fat"))
    assert (canvas.tissue[:5] == CODES["muscle"]).all()
    assert (canvas.tissue[5:] == CODES["liver"]).mean() == pytest.approx(0.5)
    inner = canvas.window((-4, -4, -40), (4, 4, 40))
    assert inner.tissue.base is canvas.tissue
    assert np.abs(inner.x).min() <= 4 and inner.z.max() >= 40


@pytest.mark.parametrize("knots", [12.0, (8.0, 16.0, 24.0)])
def test_a_random_field_has_its_deviation_and_its_bound(knots):
    field = SplineField(rng(1), (0, 0, 0), (200, 200, 200), knots, 1.5)
    values = field.on_axes(*(np.linspace(0, 200, 50),) * 3)
    assert values.std() == pytest.approx(1.5, rel=0.12)
    assert np.abs(values).max() <= field.bound + 1e-5
    assert field.bound == pytest.approx(2.5 * 1.5 / (151 / 315) ** 1.5, rel=0.02)
    beyond = field.on_axes(np.array([-500.0, -900.0]), np.array([10.0]), np.array([20.0]))
    assert beyond[0] == beyond[1]


def test_a_coil_fills_its_box_and_ribs_run_from_the_spine_to_the_front():
    path = coil(((-80, -20), (0, 60), (1000, 1060)), rng(1), 0.0)
    assert np.ptp(path, axis=0).min() > 35 and np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 70
    for number in range(2, 13):
        points, bone = rib(number)
        assert (points[:, 0] > 0).all() and points[0, 1] < -40
        assert bone == (0.86 if number < 3 else 0.80 if number < 11 else 1.0)
        assert (points[-1, 1] > 40) == (number < 11)


def test_vessels_of_a_lung_branch_into_thinner_ones_on_their_own_side():
    branches: list = []
    grow(branches, np.array([42.0, -24, 1350]), np.array([0.6, 0, 0]), 6.2, 0, rng(1), 1)
    radii = np.array([b[2] for b in branches])
    assert radii.max() == 6.2 and len(branches) > 200
    thin = 6.2 * 0.68 ** np.arange(5)
    assert np.abs(radii[:, None] - np.concatenate([thin, 0.84 * thin])).min(axis=1).max() < 1e-9
    assert np.mean([b[1][0] > 20 for b in branches]) > 0.9


# lesions


@pytest.fixture(scope="module")
def soft():
    tissue = np.full((60, 60, 60), CODES["visceral_fat"], np.uint8)
    tissue[:4] = CODES["air"]
    tissue[40:, :30] = CODES["liver"]
    return Anatomy(tissue, np.diag([2.0, 2.0, 2.0, 1.0]))


def test_lesions_lie_in_their_host_have_their_volume_and_never_reach_into_air(soft):
    found = draw_lesions(soft, 12, rng(5))
    assert len(found) == 12 and {x.host for x in found} <= {"visceral_fat", "liver"}
    for x in found:
        at = np.rint(np.array(x.centre_mm) / 2).astype(int)
        assert soft.tissue[tuple(at)] == CODES[x.host]
        assert x.mask[tuple(a - b.start for a, b in zip(at, x.box, strict=True))]
        assert x.volume_ml == pytest.approx(x.mask.sum() * 0.008, abs=5e-4)
        assert 6 <= x.diameter_mm <= 45 and 2.5 <= x.suv <= 25
        assert not (x.mask & (soft.tissue[x.box] == CODES["air"])).any()
        assert set(x.record()) == {"suv", "host", "centre_mm", "diameter_mm", "volume_ml"}
    again = draw_lesions(soft, 12, rng(5))
    assert [x.record() for x in again] == [x.record() for x in found]
    ratio = [x.volume_ml / (np.pi / 6 * (x.diameter_mm / 10) ** 3) for x in found if x.host == "liver"]
    assert 0.2 < np.median(ratio) < 1.4


def test_no_lesion_is_drawn_where_none_is_wanted_or_nothing_can_hold_one(soft):
    assert draw_lesions(soft, 0, rng()) == ()
    assert draw_lesions(Anatomy(np.zeros((4, 4, 4), np.uint8), np.eye(4)), 3, rng()) == ()


def test_lesions_are_laid_with_a_number_or_with_their_own_and_later_ones_lie_on_top(soft):
    lesions = draw_lesions(soft, 5, rng(5))
    values = np.zeros(soft.tissue.shape)
    lay(values, lesions, 42.0)
    numbers = lesion_map(soft, lesions)
    assert np.array_equal(values > 0, numbers > 0) and values.max() == 42
    lay(values, lesions, lambda x: x.suv)
    for n, x in enumerate(lesions, start=1):
        assert set(values[numbers == n]) <= {x.suv}


# literature, limits, records


def test_ranges_hold_the_values_that_persons_are_drawn_around():
    for record in VOLUMES.values():
        assert record.low < record.ml * record.female < record.high and record.low < record.ml < record.high
    for record in UPTAKE.values():
        assert record.low < record.suv < record.high
    table = ranges_table()
    assert (table["low"] < table["high"]).all()
    assert table.groupby("structure").size().eq(3).all()
    assert set(table["structure"]) == set(READINGS) == {s.name for s in ORGANS}
    rows = table.set_index(["quantity", "structure"])["source"]
    assert rows["PET", "liver"] == "liu2019" and rows["CT", "brain"] == "prokop2003"
    assert rows["volume_ml", "spleen"] == "kim_liver" and rows["CT", "colon"] == "assumed"


def test_every_structure_has_a_tissue_and_every_code_its_label():
    table = label_of_code()
    value = {s.name: s.value for s in ORGANS}
    assert {r.structure for r in TISSUE.values()} - {""} == set(value)
    for name, record in TISSUE.items():
        assert table[CODES[name]] == value.get(record.structure, 0)
    assert not table[len(TISSUE) :].any()


@pytest.mark.parametrize(("spacing", "edge"), [(2.0, 1.6), (4.0, 2.4), (8.0, 3.0)])
def test_an_anatomy_is_finer_than_its_images_within_memory(spacing, edge):
    assert anatomy_spacing(spacing) == pytest.approx(edge)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (Settings(1.9), "Invalid spacing 1.9 mm. Must be 2.0 to 8.0 mm"),
        (Settings(float("nan")), "Invalid spacing nan mm"),
        (Settings(lesions=1.5), "Invalid lesions 1.5. Must be a whole number of 0 or more."),
    ],
)
def test_settings_out_of_range_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        settings.check()


def test_a_record_that_is_missing_or_torn_is_none(tmp_path):
    path = record_path(tmp_path, "sub-001", "petct")
    assert path.name == "sub-001_ses-petct_synthesis.json" and read_record(path) is None
    path.write_text('{"key": ')
    assert read_record(path) is None
    path.write_text('{"key": "a"}')
    assert read_record(path) == {"key": "a"}
