"""The list of weight files, and what each command on them says, in a folder of its own."""

import pytest

from umdlib.errors import InputError
from umdlib.segmenters import inventory, registry
from umdlib.segmenters.contract import Segmenter
from umdlib.weights import reading
from umdlib.weights.record import Weights

ONE = Weights("one/net.pth", "page one", "MIT")
TWO = Weights("two.pth", "page two", "CC BY 4.0", size=4, sha256="0" * 64)
PLAIN = Segmenter("plain", "P", "P.", lambda d: None, frozenset({"click"}))
MADE = {
    "alpha": Segmenter("alpha", "A", "A.", lambda d: None, frozenset({"click"}), weights=(ONE,)),
    "beta": Segmenter("beta", "B", "B.", lambda d: None, frozenset({"click"}), weights=(TWO,)),
    "plain": PLAIN,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(registry, "names", lambda: tuple(MADE))
    monkeypatch.setattr(registry, "get", MADE.__getitem__)
    (tmp_path / "one").mkdir()
    return tmp_path


def test_a_file_is_missing_here_or_of_another_size(place):
    assert inventory.table()["state"].tolist() == ["missing", "missing"]
    (place / "one" / "net.pth").write_bytes(b"abc")
    (place / "two.pth").write_bytes(b"abc")
    table = inventory.table().set_index("segmenter")
    assert table["state"].to_dict() == {"alpha": "here", "beta": "other size"}
    assert table["megabytes"].tolist() == [3e-6, 3e-6]
    assert table["sha256"].to_dict() == {"alpha": "", "beta": "0" * 64}
    (place / "two.pth").unlink()
    lines = inventory.list_text().splitlines()
    assert lines[0] == f"Weights folder: {place}" and len(lines) == 4
    assert lines[1].split() == ["alpha", "here", "one/net.pth", "0", "MB"]
    assert lines[3].strip() == "from page two; licence: CC BY 4.0"


def test_where_a_file_belongs_is_said_with_its_page_licence_and_hash(place):
    assert inventory.where_text("plain") == "Segmenter 'plain' needs no weights."
    path, page, licence, digest = inventory.where_text("beta").splitlines()
    assert path == str(place / "two.pth") and page.strip() == "from page two"
    assert licence.strip() == "licence: CC BY 4.0" and "000000" in digest


def test_a_hash_is_recorded_at_first_use_compared_later_and_forgotten_on_demand(place):
    assert inventory.check_text() == f"No weight file is in {place}."
    file = place / "one" / "net.pth"
    file.write_bytes(b"abc")
    # SHA-256 of "abc", as FIPS 180-2 prints it
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert f"{known[:16]}…  as its hash of its first use" in inventory.check_text("alpha")
    assert inventory.table()["sha256"].iloc[0] == known
    file.write_bytes(b"abd")
    with pytest.raises(InputError) as error:
        inventory.check_text("alpha")
    assert str(error.value).endswith(
        f"not {known[:12]}… (recorded at first use). Remove the file and fetch it again, or 'umdlib weights check "
        "--accept one/net.pth'."
    )
    assert "as its hash of its first use" in inventory.check_text("alpha", accept="one/net.pth")
    with pytest.raises(
        InputError, match="Unknown recorded weight file 'one/nett.pth'. Did you mean 'one/net.pth'"
    ):
        inventory.check_text(accept="one/nett.pth")


def test_a_published_hash_cannot_be_overruled(place):
    (place / "two.pth").write_bytes(b"abcd")
    with pytest.raises(InputError, match=r"have sha256 88d4266fd4e6…, not 000000000000… \(published\)"):
        inventory.check_text("beta")


def test_one_file_under_two_names_is_refused(place):
    (place / "one" / "net.pth").write_bytes(b"abc")
    inventory.check_text("alpha")
    other = Weights("three.pth", "page three", "MIT")
    (place / "three.pth").write_bytes(b"abc")
    with pytest.raises(InputError) as error:
        reading.verified(other, "gamma")
    assert str(error.value) == (
        f"Weights {place / 'three.pth'} are the same file as one/net.pth. Fetch the one that belongs here."
    )


def test_what_is_here_is_not_fetched_and_what_has_no_address_is_not_guessed(place):
    said = []
    with pytest.raises(InputError) as error:
        inventory.fetch("alpha", say=said.append)
    file = place / "one" / "net.pth"
    assert str(error.value) == f"one/net.pth has to be fetched by hand from page one to {file}."
    file.write_bytes(b"abc")
    assert inventory.fetch("alpha", say=said.append) == [file] and said == [f"{file} is here."]
    assert inventory.fetch("plain", say=said.append) == []
