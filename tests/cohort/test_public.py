"""Records of public sets, and their files fetched from a server that the test runs."""

import hashlib
import http.server
import json
import threading

import pytest

from umdlib.__main__ import main
from umdlib.cohort import public
from umdlib.cohort.importing import KINDS
from umdlib.errors import InputError
from umdlib.files import read_tsv

CONTENT = {"a.zip": b"first" * 5000, "b.txt": b"second"}


class _Host(http.server.BaseHTTPRequestHandler):
    """A record in the manner of Zenodo's, files with ranges, and a path as GitHub has it."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith("/records/"):
            base = f"http://127.0.0.1:{self.server.server_port}/files"
            files = [
                {"key": k, "links": {"self": f"{base}/{k}"}, "checksum": f"md5:{hashlib.md5(v).hexdigest()}"}
                for k, v in self.server.listed.items()
            ]
            return self._answer(200, json.dumps({"files": files}).encode())
        data = self.server.content.get(name)
        if data is None:
            return self._answer(404, b"")
        start = self.headers.get("Range")
        if start is None:
            return self._answer(200, data)
        return self._answer(206, data[int(start.removeprefix("bytes=").rstrip("-")) :])

    def _answer(self, status, data):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def host():
    """A local server, and the addresses that stand for the public ones."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Host)
    server.asked, server.listed, server.content = [], dict(CONTENT), dict(CONTENT)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    server.hosts = {
        k: f"http://127.0.0.1:{server.server_port}/{p}" for k, p in (("zenodo", "records"), ("github", "raw"))
    }
    yield server
    server.shutdown()
    server.server_close()


def test_every_record_says_all_and_imports_by_a_known_kind():
    names = [r.name for r in public.records()]
    assert len(set(names)) == len(names) >= 10
    for r in public.records():
        assert r.import_as in KINDS, r.name
        assert r.access in ("free", "registration", "by hand")
        assert r.citation and r.licence and r.steps()
        assert r.access != "free" or r.source.partition(":")[0] in ("zenodo", "github")


def test_files_are_fetched_once_and_checked(host, tmp_path):
    paths = public.fetch("deep-psma", tmp_path, hosts=host.hosts)
    assert {p.name: p.read_bytes() for p in paths} == CONTENT
    asked = len(host.asked)
    said = []
    public.fetch("deep-psma", tmp_path, hosts=host.hosts, say=said.append)
    assert len(host.asked) == asked + 1 and all("there already" in line for line in said)  # the list only
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_download_that_broke_off_is_gone_on_with(host, tmp_path):
    (tmp_path / ".a.zip.part").write_bytes(CONTENT["a.zip"][:7000])
    public.fetch("deep-psma", tmp_path, only="a.zip", hosts=host.hosts)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT["a.zip"]
    assert ("/files/a.zip", "bytes=7000-") in host.asked


def test_a_file_that_is_not_the_known_one_is_not_kept(host, tmp_path):
    host.content["b.txt"] = b"changed"
    with pytest.raises(InputError, match="is not the one that is known: its checksum is md5:"):
        public.fetch("deep-psma", tmp_path, only="b.txt", hosts=host.hosts)
    assert not (tmp_path / "b.txt").exists()


def test_a_list_that_leads_out_of_the_folder_is_refused(host, tmp_path):
    host.listed = {"../b.txt": b"second"}
    with pytest.raises(InputError, match="lies outside"):
        public.fetch("deep-psma", tmp_path / "in", hosts=host.hosts)


def test_a_host_that_does_not_answer_or_has_no_such_file(host, tmp_path):
    with pytest.raises(InputError, match="cannot be listed"):
        public.fetch("deep-psma", tmp_path, hosts={"zenodo": "http://127.0.0.1:1/records"})
    del host.content["a.zip"]
    with pytest.raises(InputError, match="The same command resumes where this stopped"):
        public.fetch("deep-psma", tmp_path, hosts=host.hosts)
    with pytest.raises(InputError, match="No file of deep-psma begins with 'x'"):
        public.fetch("deep-psma", tmp_path, only="x", hosts=host.hosts)


def test_the_ibsi_files_have_the_hashes_of_the_repository(shared, host, tmp_path):
    real = shared / "real" / "ibsi_sts" / "STS_001"
    host.content = {p.name: p.read_bytes() for p in real.iterdir()}
    paths = public.fetch("ibsi-sts", tmp_path, only="STS_001/", hosts=host.hosts)
    assert len(paths) == 6 and all(p.read_bytes() == (real / p.name).read_bytes() for p in paths)
    host.content["CT_mask.nii.gz"] += b"x"
    (tmp_path / "STS_001/CT_mask.nii.gz").unlink()
    with pytest.raises(InputError, match="its checksum is sha256:"):
        public.fetch("ibsi-sts", tmp_path, only="STS_001/CT_mask", hosts=host.hosts)


def test_ibsi_lists_51_patients_with_six_files_each():
    from importlib import resources

    with resources.as_file(resources.files("umdlib.cohort") / "public_files.tsv") as path:
        table = read_tsv(path, ("set", "path", "sha256", "git_blob"))
    patients = table["path"].str.partition("/")[0].value_counts()
    assert (patients.drop("LICENSE.md") == 6).all() and len(patients) == 52
    assert table["git_blob"].str.fullmatch("[0-9a-f]{40}").all()


def test_gits_hash_of_a_file(tmp_path):
    (tmp_path / "f").write_bytes(
        b"hello\n"
    )  # git hash-object prints ce013625030ba8dba906f756967f9e9ca394464a
    assert public._checksum(tmp_path / "f", "git:x") == "git:ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "petwb"], "Did you mean 'petwb-rep'?"),
        (["fetch", "enhance-pet", "x"], "cannot be fetched for you (by hand):\n  1. Install MOOSE"),
        (["fetch", "bic-mac", "x"], "(registration)"),
        (["fetch", "ibsi-sts"], "needs a FOLDER"),
        (["cite"], "needs the NAME"),
    ],
)
def test_mistakes_and_what_is_to_be_done_by_hand(capsys, words, said):
    assert main(["cohorts", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_command_lists_shows_and_cites(capsys):
    assert main(["cohorts", "list"]) == 0
    assert all(r.name in capsys.readouterr().out for r in public.records()[:1])
    assert main(["cohorts", "show", "petwb-rep"]) == 0
    out = capsys.readouterr().out
    assert "490" in out and "z-scored CT" in out and "umdlib cohorts fetch petwb-rep" in out
    assert main(["cohorts", "cite", "ibsi-sts"]) == 0
    assert "doi:10.7937/K9/TCIA.2015.7GO2GSKS" in capsys.readouterr().out


def test_the_command_fetches_and_says_licence_and_citation(host, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(public, "ZENODO", host.hosts["zenodo"])
    assert main(["cohorts", "fetch", "deep-psma", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 b.txt" in out and "Licence: CC BY-NC 4.0" in out and "doi:10.5281/zenodo.15281784" in out
