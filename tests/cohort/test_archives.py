"""Archives: every member is checked before it is written; nothing leaves the folder."""

import io
import tarfile
import zipfile

import pytest

from umdlib.__main__ import main
from umdlib.cohort import archives
from umdlib.errors import InputError

FILES = {
    "set/s0000/ct.nii.gz": b"image",
    "set/meta.csv": b"a;b",
    "__MACOSX/set/._ct": b"x",
    "set/._meta.csv": b"x",
}


def zipped(path, files=None):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (FILES if files is None else files).items():
            archive.writestr(name, content)
    return path


def tarred(path, files=None, mode="w:gz", more=()):
    with tarfile.open(path, mode) as archive:
        for name, content in (FILES if files is None else files).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_files_are_unpacked_without_leftovers_of_systems(tmp_path, kind, capsys):
    archive = zipped(tmp_path / "a.zip") if kind == "zip" else tarred(tmp_path / "a.tar", mode=kind)
    assert main(["cohorts", "unpack", str(archive), str(tmp_path / "out")]) == 0
    assert "2 files in" in capsys.readouterr().out
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"set/s0000/ct.nii.gz", "set/meta.csv"}
    assert (tmp_path / "out/set/s0000/ct.nii.gz").read_bytes() == b"image"


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "C:/out.txt", "..\\out.txt", "a\nb"]
)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path, make, name):
    archive = make(tmp_path / "in.archive", {"good.txt": b"1", name: b"2"})
    with pytest.raises(InputError, match="leads out of"):
        archives.unpack(archive, tmp_path / "deep" / "out")
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} <= {"in.archive", "good.txt"}


def test_links_and_devices_are_left_out_and_lead_nowhere(tmp_path):
    lines = []
    special = (
        link("way", "../.."),
        link("hard", "/etc/passwd", tarfile.LNKTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
    )
    archive = tarred(tmp_path / "a.tar", {"good.txt": b"1"}, "w", special)
    assert [p.name for p in archives.unpack(archive, tmp_path / "out", say=lines.append)] == ["good.txt"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.txt"]
    assert len(lines) == 3
    # a link that lies in the folder already
    (tmp_path / "out" / "way").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out of"):
        archives.unpack(zipped(tmp_path / "b.zip", {"way/evil.txt": b"1"}), tmp_path / "out")


def test_a_link_in_a_zip_is_left_out(tmp_path):
    info = zipfile.ZipInfo("way")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc")
        archive.writestr("good.txt", "1")
    assert [p.name for p in archives.unpack(tmp_path / "a.zip", tmp_path / "out")] == ["good.txt"]


def test_what_does_not_fit_and_what_is_a_bomb_is_refused_before_it_is_written(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", {"a.txt": b"1" * 1000, "b.txt": b"2" * 1000})
    with pytest.raises(InputError, match="fit here"):
        archives.unpack(archive, tmp_path / "out", most_bytes=1500)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.txt"]
    monkeypatch.setattr(archives, "_BOMB_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("zeros", bytes(2_000_000))
    with pytest.raises(InputError, match="No archive of images shrinks 200-fold"):
        archives.unpack(tmp_path / "bomb.zip", tmp_path / "out2")
    assert not list((tmp_path / "out2").iterdir())


def test_a_member_that_is_longer_than_it_claims_is_refused(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.txt": b"12345678"})
    raw = archive.read_bytes()
    archive.write_bytes(
        raw.replace((8).to_bytes(4, "little") * 2, (8).to_bytes(4, "little") + (3).to_bytes(4, "little"))
    )
    with pytest.raises(InputError, match="damaged"):
        archives.unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "neither ZIP nor tar"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "7z or RAR"),
        (b"PK\x03\x04" + bytes(60), "neither ZIP nor tar|damaged"),
        (b"", "neither ZIP nor tar"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path, content, said):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=said):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_truncated_archive_is_named_and_an_unpacking_goes_on(tmp_path):
    archive = tarred(tmp_path / "a.tar.gz", {"a.txt": b"1" * 500, "b.txt": bytes(range(256)) * 400})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) - 40])
    with pytest.raises(InputError, match="damaged|cannot be unpacked"):
        archives.unpack(archive, tmp_path / "out")
    archive.write_bytes(whole)
    before = (tmp_path / "out/a.txt").stat().st_mtime_ns
    assert len(archives.unpack(archive, tmp_path / "out")) == 2
    assert (tmp_path / "out/a.txt").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="cannot be unpacked: No such file"):
        archives.unpack(tmp_path / "none.zip", tmp_path / "out")
