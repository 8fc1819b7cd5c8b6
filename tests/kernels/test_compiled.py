"""Kernels compile wherever a folder can be written, and where none can."""

from umdlib.kernels import compiled


def test_numbas_own_choice_stays_where_it_can_be_written(tmp_path):
    assert compiled._cache_folder(tmp_path) == ""


def test_a_temporary_folder_takes_its_place(tmp_path, monkeypatch):
    real = compiled._can_write
    monkeypatch.setattr(compiled, "_can_write", lambda folder: "umdlib-numba" in folder and real(folder))
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path))
    assert compiled._cache_folder(tmp_path / "package").startswith(str(tmp_path / "umdlib-numba"))


def test_nothing_is_cached_where_nothing_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_can_write", lambda folder: False)
    assert compiled._cache_folder(tmp_path) is None
    twice = compiled._uncached(cache=True)(lambda x: 2 * x)
    assert twice(4) == 8
