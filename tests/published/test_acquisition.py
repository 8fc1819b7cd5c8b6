import re

import numpy as np
import pytest
from published_help import paper

from umdlib.errors import InputError
from umdlib.published import acquisition, printed


def test_all_facts_but_the_upper_end_of_the_field_of_view_agree():
    table = acquisition.side_by_side()
    assert table[table["verdict"] == "differs"].index.tolist() == ["upper_end"]
    assert acquisition.agreement() == (13, 14)


def test_a_changed_fact_is_no_longer_the_same(monkeypatch):
    facts = printed.read_acquisition()
    facts.loc[facts.query("key == 'dose' and source == 'PETWB-REP'").index, "value"] = "4.5"
    monkeypatch.setattr(acquisition, "read_acquisition", lambda: facts)
    assert acquisition.side_by_side().loc["dose", "verdict"] == "differs"
    assert acquisition.agreement() == (12, 14)


def test_a_fact_of_one_source_is_stated_once():
    table = acquisition.side_by_side("cohort")
    assert (table["verdict"] == "stated once").all()
    assert (table[["UMD", "SegAnyPET"]] == "").all(axis=None)
    assert int(table.loc["female", "PETWB-REP"]) + int(table.loc["male", "PETWB-REP"]) == 490


def test_every_fact_has_its_place():
    facts = printed.read_acquisition()
    assert (facts[["what", "value", "where"]] != "").all(axis=None)
    assert not facts.duplicated(["key", "source"]).any()


@pytest.mark.parametrize("source", ["UMD", "SegAnyPET"])
def test_the_papers_facts_are_in_their_text(source):
    text = re.sub(r"\s+", " ", paper(source).read_text(encoding="utf-8"))
    facts = printed.read_acquisition().query("source == @source and group == 'acquisition'")
    words = {"18F-FDG": "FDG", "mid-thigh": "mid", "top of the head": "top of head", "3.70-5.55": "5.55"}
    for fact in facts.itertuples():
        for part in words.get(fact.value, fact.value).replace("low dose", "low-dose").split(", "):
            assert part in text, (fact.key, part)


def test_the_record_is_older_than_the_paper_and_younger_than_the_systems():
    assert acquisition.months_public_before() == 6  # August 2025, February 2026
    assert acquisition.systems_older_than_the_record().all()
    assert acquisition.authors_in_common() == ["Yichi Zhang", "Le Xue", "Wenbo Zhang", "Gang Feng"]


def test_one_subject_at_most_has_no_brain():
    # SAT's cell 0.0020(0.0451) is 1 of 490 at exactly 1.
    found = acquisition.brain_row()
    assert (found["n"], found["masks"], found["without"]) == (490, 490 * 13, 1)
    assert np.isclose(found["best"], 0.8796)


def test_an_unknown_group_is_refused():
    with pytest.raises(InputError, match="Unknown group of facts"):
        acquisition.side_by_side("people")


def test_groups_are_frames_with_a_verdict():
    for group in ("acquisition", "cohort", "publication"):
        verdicts = acquisition.side_by_side(group)["verdict"]
        assert len(verdicts) and verdicts.ne("").all()
