"""A thousand damaged files: read, or refused by the one error of bad input."""

import gzip
import warnings

import nibabel as nib
import numpy as np
import pytest

from umdlib.errors import InputError
from umdlib.images import volume


def originals():
    """NIfTI-1 and -2, scaled and not, of both byte orders; as bytes."""
    rng = np.random.default_rng(0)
    affine = np.array([[-2.0, 0, 0, 30], [0, 2, 0, -40], [0, 0, 3, 5], [0, 0, 0, 1]])
    for kind, order, dtype in (
        (nib.Nifti1Image, "<", "i2"),
        (nib.Nifti1Image, ">", "f4"),
        (nib.Nifti2Image, "<", "u1"),
        (nib.Nifti2Image, ">", "f8"),
    ):
        data = rng.integers(0, 5, (9, 8, 7)).astype(order + dtype)
        header = kind.header_class(endianness=order)
        header.set_data_dtype(order + dtype)
        image = kind(data, affine, header)
        image.set_qform(affine, 1)
        yield image.to_bytes()


def mutated(raw, rng):
    """One to four changes of bits, bytes, cuts or lengths, in the header more often than elsewhere."""
    raw = bytearray(raw)
    for _ in range(rng.integers(1, 5)):
        where = int(rng.integers(0, min(len(raw), 560 if rng.random() < 0.8 else len(raw))))
        what = rng.integers(5)
        if what == 0:
            raw[where] ^= 1 << int(rng.integers(8))
        elif what == 1:
            raw[where] = int(rng.integers(256))
        elif what == 2:
            raw[where : where + 8] = rng.choice(
                [b"\xff" * 8, bytes(8), b"\x7f\xf0" * 4, b"\x00\x00\xc0\x7f" * 2]
            )
        elif what == 3:
            del raw[where : where + int(rng.integers(1, 40))]
        else:
            raw = raw[: max(1, int(rng.integers(len(raw))))] if rng.random() < 0.3 else raw + bytes(9)
    return bytes(raw)


def others(kind, folder):
    """Files of a volume in another format than NIfTI in one file, by name: the header's first."""
    data = np.random.default_rng(0).integers(0, 5, (9, 8, 7)).astype(np.int16)
    affine = np.diag([-2.0, 2, 3, 1])
    if kind == "hdr":
        nib.save(nib.Nifti1Pair(data, affine), folder / "a.hdr")
    elif kind in ("mgh", "mgz"):
        nib.save(nib.MGHImage(data, affine), folder / f"a.{kind}")
    else:
        sitk = pytest.importorskip("SimpleITK")
        sitk.WriteImage(sitk.GetImageFromArray(data.T), str(folder / f"a.{kind}"))
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir(), key=lambda p: p.suffix != f".{kind}")}


def outcome(path, reader, **options):
    """What reading a file comes to: "read", or the sentence of the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader(path, **options)
    except InputError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("packed", ["plain", "inside", "outside"])
def test_a_thousand_mutated_files_are_read_or_refused(tmp_path, packed):
    rng = np.random.default_rng({"plain": 1, "inside": 2, "outside": 3}[packed])
    files, outcomes = list(originals()), []
    path = tmp_path / "mutated.nii.gz"
    for n in range(350):
        raw = files[n % len(files)]
        if packed == "outside":
            raw = mutated(gzip.compress(raw, 6), rng)
        else:
            raw = mutated(raw, rng)
            raw = gzip.compress(raw, 1) if packed == "inside" else raw
        path.write_bytes(raw)
        outcomes += [outcome(path, r) for r in (volume.read_volume, volume.read_label_map)]
    refused = [o for o in outcomes if o != "read"]
    assert len(refused) > 100
    assert all(path.name in o and "\n" not in o for o in refused)
    assert packed == "outside" or outcomes.count("read") > 100


@pytest.mark.parametrize("kind", ["nrrd", "nhdr", "mha", "mhd", "mgh", "mgz", "hdr"])
def test_mutated_files_of_other_formats_are_read_or_refused(tmp_path, kind):
    files = others(kind, tmp_path)
    rng, outcomes = np.random.default_rng(len(kind)), []
    for n in range(60):
        for number, (name, raw) in enumerate(files.items()):
            (tmp_path / name).write_bytes(mutated(raw, rng) if number == n % len(files) else raw)
        path = tmp_path / next(iter(files))
        readers = (volume.read_volume, volume.read_label_map)
        outcomes += [outcome(path, reader, two_files=True) for reader in readers]
    refused = [o for o in outcomes if o != "read"]
    assert len(refused) > 20
    assert all(f"a.{kind}" in o or "a.img" in o for o in refused)
    assert all("\n" not in o for o in refused)
