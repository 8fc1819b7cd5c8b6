"""Weights: the folder, hashes, refusals, strict loading, resumed downloads."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile

import numpy as np
import pytest

from umdlib import segmenters
from umdlib.errors import InputError
from umdlib.segmenters import inventory
from umdlib.segmenters.systems import sam_med3d
from umdlib.weights import convert as inert
from umdlib.weights import reading as weights
from umdlib.weights.record import Weights

torch = pytest.importorskip("torch")
ITEM = Weights("net.pth", "the attic", "CC0")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path))
    return tmp_path


class Evil:
    def __reduce__(self):
        return print, ("this must never be printed",)


def net():
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("UMD_WEIGHTS", str(tmp_path / "w"))
    assert weights.folder() == tmp_path / "w"
    monkeypatch.delenv("UMD_WEIGHTS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert weights.folder() == tmp_path / "umdlib" / "weights"


def test_a_missing_file_says_how_to_get_it(folder):
    with pytest.raises(InputError, match=r"Weights net.pth are not in .*weights fetch x.*the attic"):
        weights.verified(ITEM, "x")


def test_a_file_of_another_size_is_refused(folder):
    (folder / "net.pth").write_bytes(b"abc")
    with pytest.raises(InputError, match="hold 3 bytes, not 4"):
        weights.verified(Weights("net.pth", "attic", "CC0", size=4), "x")


def test_the_hash_of_first_use_is_recorded_and_compared(folder):
    path = folder / "net.pth"
    path.write_bytes(b"first")
    weights.verified(ITEM, "x")
    assert weights.known_hash(ITEM) == weights.sha256(path)
    path.write_bytes(b"other")
    with pytest.raises(InputError, match="recorded at first use"):
        weights.verified(ITEM, "x")
    inventory.check_text(accept="net.pth")
    assert weights.verified(ITEM, "x") == path


def test_a_published_hash_is_compared(folder):
    (folder / "net.pth").write_bytes(b"abc")
    with pytest.raises(InputError, match=r"sha256 ba7816bf8f01…, not 000000000000… .published"):
        weights.verified(Weights("net.pth", "attic", "CC0", sha256="0" * 64), "x")


def test_code_in_a_file_is_refused_and_not_run(folder, capsys):
    torch.save({"model_state_dict": net().state_dict(), "args": Evil()}, folder / "net.pth")
    with pytest.raises(InputError, match=r"refused: the pickle asks for .*; loading .*weights convert"):
        weights.read_state(folder / "net.pth")
    assert "never be printed" not in capsys.readouterr().out


@pytest.mark.parametrize("mmap", [False, True])
def test_numbers_of_numpy_run_no_code_and_are_read(folder, mmap):
    content = {"network_weights": net().state_dict(), "lr": np.float64(0.01), "epoch": np.int64(3)}
    torch.save(content, folder / "net.pth")
    state = weights.read_state(folder / "net.pth", mmap=mmap)
    assert (float(state["lr"]), int(state["epoch"])) == (0.01, 3)
    weights.vet(folder / "net.pth")


def test_a_numpy_1_file_is_read_too(folder):
    torch.save({"lr": np.float64(0.5)}, folder / "new.pth")
    with zipfile.ZipFile(folder / "new.pth") as source, zipfile.ZipFile(folder / "old.pth", "w") as old:
        for name in source.namelist():
            content = source.read(name)
            old.writestr(name.replace("new/", "old/"), content.replace(b"numpy._core", b"numpy.core"))
    assert float(weights.read_state(folder / "old.pth")["lr"]) == 0.5


def test_vetting_refuses_what_reading_refuses(folder):
    torch.save({"model_state_dict": net().state_dict(), "args": Evil()}, folder / "net.pth")
    with pytest.raises(InputError, match="the pickle asks for"):
        weights.vet(folder / "net.pth")


def test_a_system_that_reads_its_published_file_refuses_a_converted_one(folder):
    torch.save({"model_state_dict": net().state_dict()}, folder / "net.pth")
    assert weights.as_published(ITEM, "x") == folder / "net.pth"
    inert.convert(folder / "net.pth", folder / "net.safetensors")
    with pytest.raises(InputError, match="'x' reads torch files"):
        weights.as_published(ITEM, "x")


@pytest.mark.parametrize("content", [b"", b"not a pickle at all", b"PK\x03\x04 half a zip"])
def test_damaged_files_are_named(folder, content):
    (folder / "net.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"net.pth are damaged"):
        weights.read_state(folder / "net.pth")


def test_a_truncated_file_is_named(folder):
    torch.save(net().state_dict(), folder / "net.pth")
    content = (folder / "net.pth").read_bytes()
    (folder / "net.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged or truncated"):
        weights.read_state(folder / "net.pth")


def test_a_wrong_file_names_its_first_missing_keys(folder):
    torch.save({"model_state_dict": {"encoder.0.weight": torch.zeros(3, 2)}}, folder / "net.pth")
    with pytest.raises(InputError, match=r"0 of 4 keys match. Missing 0.weight, 0.bias, 1.weight …"):
        weights.load_strict(net(), ITEM, "x", inner=("model_state_dict",))


def test_a_shape_that_differs_is_refused():
    state = net().state_dict()
    state["1.bias"] = torch.zeros(7)
    with pytest.raises(InputError, match=r"3 of 4 keys match. Of another shape 1.bias"):
        weights.fill(net(), state, "net.pth")


def test_a_right_file_is_loaded_from_inside_its_dictionary(folder):
    source, target = net(), net()
    torch.save({"model_state_dict": source.state_dict()}, folder / "net.pth")
    weights.load_strict(target, ITEM, "x", inner=("model_state_dict",))
    assert torch.equal(source[0].weight, target[0].weight)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_network_saved_inside_its_wrapper_is_loaded_and_one_of_mixed_names_is_not(wrapper):
    source, target = net(), net()
    state = {wrapper + k: v for k, v in source.state_dict().items()}
    weights.fill(target, state, "net.pth")
    assert torch.equal(source[1].bias, target[1].bias)
    state["1.bias"] = state.pop(f"{wrapper}1.bias")
    with pytest.raises(InputError, match=r"1 of 4 keys match. Missing 0.weight"):
        weights.fill(target, state, "net.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_conversion_keeps_the_tensors_and_runs_nothing(folder, capsys, suffix):
    source = net()
    content = {"network_weights": source.state_dict(), "log": Evil(), "epoch": 3}
    torch.save(content, folder / "net.pth")
    target = folder / f"clean{suffix}"
    inert.convert(folder / "net.pth", target)
    state = weights.read_state(target)
    if suffix == ".pth":
        assert state["log"] is None
        assert state["epoch"] == 3
        state = state["network_weights"]
    other = net()
    weights.fill(other, state, target.name)
    assert torch.equal(source[1].bias, other[1].bias)
    assert "never be printed" not in capsys.readouterr().out


def test_conversion_keeps_shapes_types_and_strides(folder):
    given = {
        "a": torch.arange(6).reshape(2, 3).T,
        "b": torch.tensor([1.5]).half(),
        "c": torch.tensor(True),
        "d": torch.empty(0),
    }
    torch.save(given, folder / "net.pth")
    read = inert.read_inert(folder / "net.pth")
    for name, tensor in given.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_what_is_no_torch_file_is_not_converted(folder):
    (folder / "net.pth").write_bytes(b"no zip")
    with pytest.raises(InputError, match="not a torch file in zip format"):
        inert.convert(folder / "net.pth", folder / "out.safetensors")


def test_a_broken_download_goes_on_where_it_stopped(folder):
    content = bytes(range(256)) * 40
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            asked.append(start)
            self.send_response(206 if start else 200)
            # the first answer announces all and breaks off in the middle
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:] if start else content[:5000])

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/net.pth"
        with pytest.raises(InputError, match=r"the same command resumes|The same command resumes"):
            weights.download(Weights("net.pth", "here", "CC0", url=url), folder / "net.pth", timeout_s=5)
        assert not (folder / "net.pth").exists()
        weights.download(Weights("net.pth", "here", "CC0", url=url), folder / "net.pth", timeout_s=5)
        server.shutdown()
        thread.join()
    assert asked == [0, 5000]
    assert (folder / "net.pth").read_bytes() == content


def test_the_list_names_every_file_and_its_licence(folder):
    table = inventory.table()
    wanted = {w.file for n in segmenters.names() for w in segmenters.get(n).weights}
    assert wanted <= set(table["file"])
    assert (table["licence"] != "").all()
    text = inventory.list_text()
    assert str(folder) in text
    assert "sam_med3d_turbo.pth" in text
    assert "licence: Apache-2.0" in inventory.where_text("sam_med3d_turbo")
    assert inventory.where_text("threshold") == "Segmenter 'threshold' needs no weights."


def test_weights_that_cannot_be_fetched_say_where_they_are(folder):
    with pytest.raises(InputError, match="by hand from the Google Drive folder"):
        inventory.fetch("medsam", say=lambda line: None)


def test_the_hub_is_asked_for_the_pinned_revision_and_its_file_moved_to_its_place(folder, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def fetched(repo, name, *, revision, local_dir, etag_timeout):
        asked.append((repo, name, revision))
        local_dir.mkdir(parents=True)
        (local_dir / "model.pt").write_bytes(b"tensors")
        return str(local_dir / "model.pt")

    monkeypatch.setattr(hub, "hf_hub_download", fetched)
    item = Weights("a/net.pth", "hub", "CC0", repo="who/what", remote="model.pt", revision="abc123")
    weights.download(item, folder / "a" / "net.pth")
    assert asked == [("who/what", "model.pt", "abc123")]
    assert (folder / "a" / "net.pth").read_bytes() == b"tensors"
    monkeypatch.setattr(hub, "hf_hub_download", lambda *a, **k: (_ for _ in ()).throw(OSError("401 login")))
    with pytest.raises(InputError, match=r"Cannot fetch who/what \(model.pt, abc123\): 401 login"):
        weights.download(item, folder / "b.pth")


def test_one_file_under_two_names_is_refused(folder):
    for name in ("sam_med3d_turbo.pth", "seganypet_v1.pth"):
        (folder / name).write_bytes(b"the same tensors")
    items = [Weights(n, "attic", "CC0") for n in ("sam_med3d_turbo.pth", "seganypet_v1.pth")]
    weights.verified(items[0], "x")
    with pytest.raises(InputError, match="seganypet_v1.pth are the same file as sam_med3d_turbo.pth"):
        weights.verified(items[1], "x")


def test_the_published_hash_of_another_system_is_refused_under_this_name(folder, monkeypatch):
    (folder / "seganypet_v1.pth").write_bytes(b"turbo")
    monkeypatch.setattr(weights, "sha256", lambda path: sam_med3d.TURBO_FILE.sha256)
    with pytest.raises(InputError, match="are sam_med3d_turbo.pth of 'sam_med3d_turbo' by their hash"):
        inventory.check_text("seganypet_v1")


def test_a_published_md5_is_compared(folder):
    (folder / "net.pth").write_bytes(b"abcd")
    good = hashlib.md5(b"abcd").hexdigest()
    assert weights.verified(Weights("net.pth", "attic", "CC0", md5=good), "x") == folder / "net.pth"
    (folder / "other.pth").write_bytes(b"efgh")
    with pytest.raises(InputError, match="do not have the published md5"):
        weights.verified(Weights("other.pth", "attic", "CC0", md5=good), "x")


def test_a_converted_file_takes_the_place_of_the_refused_one(folder):
    source, target = net(), net()
    torch.save({"model_state_dict": source.state_dict(), "log": Evil()}, folder / "net.pth")
    with pytest.raises(InputError, match=r"convert .*net.pth .*net.safetensors"):
        weights.load_strict(target, ITEM, "x", inner=("model_state_dict",))
    inert.convert(folder / "net.pth", folder / "net.safetensors")
    weights.load_strict(target, ITEM, "x", inner=("model_state_dict",))
    assert torch.equal(source[0].weight, target[0].weight)


def test_a_converted_file_has_a_hash_of_its_own(folder):
    item = Weights("net.pth", "attic", "CC0", size=4, sha256="0" * 64)
    (folder / "net.safetensors").write_bytes(b"converted")
    path = weights.verified(item, "x")
    assert weights.known_hash(item) == weights.sha256(path)
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match=r"recorded at first use.*--accept net.safetensors"):
        weights.verified(item, "x")


def test_a_download_that_was_whole_already_is_kept(folder):
    """The server has nothing after what is here and says so with status 416."""
    content = b"x" * 300
    answers = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            answers.append(start)
            self.send_response(416 if start >= len(content) else 200)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0" if start >= len(content) else str(len(content)))
            self.end_headers()
            if start < len(content):
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/net.pth"
        for part in (content, b"y" * 999):  # whole; and longer than the file: another file's
            (folder / "net.pth.part").write_bytes(part)
            weights.download(Weights("net.pth", "here", "CC0", url=url), folder / "net.pth", timeout_s=5)
            assert (folder / "net.pth").read_bytes() == content
        server.shutdown()
        thread.join()
    assert answers == [300, 999, 0]
