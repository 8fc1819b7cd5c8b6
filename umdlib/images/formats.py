"""Files that are not NIfTI: recognised by their first bytes, read by SimpleITK or named with a way on."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from umdlib.errors import InputError

# Bytes that are looked at: text headers of NRRD and MetaImage hold what programs copy into them.
PEEK = 1 << 16

_DICOM = (
    "Import it with `umdlib import dicom`, which finds the series and converts PET to SUV, or convert it "
    "with dcm2niix."
)

# (pattern of the first bytes, name, what to do; None where it is read)
_KNOWN: tuple[tuple[bytes, str, str | None], ...] = (
    (rb"NRRD\d{4}", "NRRD", None),
    (rb"\s*(ObjectType|NDims)\s*=", "MetaImage", None),
    (rb"\x00\x00\x00\x01\x00\x00", "MGH", None),
    (rb".{128}DICM", "a DICOM slice", _DICOM),
    (rb"version https://git-lfs", "a git-lfs pointer, not the image", "Fetch the image: git lfs pull."),
    (rb"/annex/objects|\.\./.*\.git/annex", "a git-annex pointer, not the image", "Fetch it: git annex get."),
    (rb"CDF[\x01\x02]|\x89HDF\r\n", "MINC or HDF5", "Convert it to NIfTI: mnc2nii."),
    (
        rb"(II\*\x00|MM\x00\*)",
        "TIFF",
        "A volume in mm is needed: convert the DICOM series that it came from.",
    ),
    (rb"(\x89PNG|\xff\xd8\xff|GIF8|BM)", "a picture", "A volume in mm is needed."),
    (rb"\x93NUMPY", "a NumPy array", "It says nothing about mm: save it as NIfTI with its affine."),
    (rb"PK\x03\x04", "a ZIP archive", "Unpack it."),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it: unzstd."),
    (rb"BZh", "compressed with bzip2", "Unpack it: bunzip2."),
    (rb"\xfd7zXZ", "compressed with xz", "Unpack it: unxz."),
    (rb"\s*<(!DOCTYPE|html|\?xml)", "a web page or XML", "Was the download refused? Fetch it again."),
)


def kind(start: bytes) -> tuple[str, str | None] | None:
    """Name of a format and what to do about it, by a file's first bytes; None where it is not known.

    Examples
    --------
    >>> kind(b"NRRD0005"), kind(b"BZh91AY")
    (('NRRD', None), ('compressed with bzip2', 'Unpack it: bunzip2.'))
    """
    for pattern, name, advice in _KNOWN:
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            return name, advice
    return None


def label_names(path: str | Path) -> dict[int, str]:
    """Label value -> name, where the file itself says so; empty of any other file, and of one that cannot be read.

    3D Slicer writes the names into a ``.seg.nrrd``, TotalSegmentator (``--ml``) and Connectome Workbench into an
    extension of the NIfTI header.
    """
    if not str(path).lower().endswith((".nrrd", ".nhdr")):
        return _nifti_label_names(path)
    try:
        with open(path, "rb") as file:
            start = file.read(PEEK)
    except OSError:
        return {}
    header = start.replace(b"\r\n", b"\n").split(b"\n\n")[0].decode("utf-8", "replace")
    fields = dict(re.findall(r"^(Segment\d+_(?:LabelValue|Name)):=(.*)$", header, re.MULTILINE))
    numbered = {key.split("_")[0]: value for key, value in fields.items() if key.endswith("_LabelValue")}
    return {
        int(value): fields[f"{segment}_Name"].strip()
        for segment, value in numbered.items()
        if value.strip().isdecimal() and fields.get(f"{segment}_Name", "").strip()
    }


def _nifti_label_names(path: str | Path) -> dict[int, str]:
    """Names in the label table of a NIfTI header's extension."""
    import nibabel as nib

    try:
        contents = [e.get_content() for e in getattr(nib.load(path).header, "extensions", ())]
    except Exception:  # whatever nibabel makes of damaged bytes; reading the voxels says why
        return {}
    text = b"".join(c for c in contents if isinstance(c, bytes)).decode("utf-8", "replace")
    if "<LabelTable>" not in text:
        return {}
    label = r'<Label\s[^>]*\bKey="(\d+)"[^>]*>\s*(?:<!\[CDATA\[)?([^<\]]+)'
    return {
        int(value): name.strip() for value, name in re.findall(label, text) if int(value) and name.strip()
    }


def folder_error(path: Path) -> InputError:
    """Why a folder is not an image, with what is in it."""
    with suppress(OSError):  # a closed folder is one all the same
        for file in [f for f in sorted(path.iterdir()) if f.is_file()][:20]:
            with open(file, "rb") as stream:
                if (found := kind(stream.read(PEEK))) and "DICOM" in found[0]:
                    return InputError(f"{path} is a folder of DICOM slices, not a file. {_DICOM}")
    return InputError(f"{path} is a folder. An image is one file.")


def read_other(path: Path, start: bytes, *, two_files: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (I, J, K) and affine (RAS+, mm) of a file that is not NIfTI.

    Raises
    ------
    InputError
        Another format, with its name and what to do; voxels in a second file; a damaged file;
        SimpleITK is not installed.
    """
    found = kind(start)
    if found is None:
        raise InputError(f"File {path} is not a NIfTI file: its header is missing.")
    name, advice = found
    if advice is not None:
        raise InputError(f"File {path} is {name}. {advice}")
    if name == "MGH":
        return _read_mgh(path)
    second = _second_file(start, name)
    if second and not two_files:
        raise InputError(
            f"File {path} is a {name} header whose voxels lie in {second}. In a cohort an image is one file, which "
            "its hash covers: `umdlib import` makes one file of the two."
        )
    return _read_by_itk(path, name, _beside(path, second) if second else path)


def _second_file(start: bytes, name: str) -> str:
    """The file that a header names for its voxels; empty where they follow it."""
    pattern = {"NRRD": rb"^data ?file:[ \t]*(.+)$", "MetaImage": rb"^ElementDataFile[ \t]*=[ \t]*(.+)$"}[name]
    text = start.replace(b"\r\n", b"\n").split(b"\n\n")[0] if name == "NRRD" else start
    found = re.search(pattern, text, re.MULTILINE | re.IGNORECASE)
    file = found[1].decode(errors="replace").strip() if found else ""
    return "" if file == "LOCAL" else file


def _beside(path: Path, second: str) -> Path:
    """The second file of a header, which must lie in the header's folder."""
    if "/" in second or "\\" in second or second.upper().split()[0] == "LIST" or "%" in second:
        raise InputError(f"File {path} names '{second[:80]}' for its voxels. Must be one file in its folder.")
    found = path.parent / second
    if not found.is_file() or found.resolve().parent != path.parent.resolve():
        raise InputError(f"File {path} names '{second[:80]}' for its voxels, which does not lie beside it.")
    return found


def _read_by_itk(path: Path, name: str, voxels: Path) -> tuple[np.ndarray, np.ndarray]:
    """By SimpleITK, whose world is LPS and whose arrays are (K, J, I); `voxels` is the file that holds them."""
    try:
        import SimpleITK as sitk
    except ImportError:
        raise InputError(
            f'File {path} is {name}. Reading it needs SimpleITK: pip install "umdlib[formats]".'
        ) from None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO({"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}[name])
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if reader.GetNumberOfComponents() != 1:
            layers = any(key.startswith("Segment0_") for key in reader.GetMetaDataKeys())
            raise InputError(
                f"File {path} holds several values per voxel. A volume holds one."
                + (" They are layers of segments that overlap: export each as a label map." if layers else "")
            )
        check_shape(size, path)
        # 8 bytes for what the type may be; what is not compressed is at least a byte a voxel
        check_claim(int(np.prod(size, dtype=object)), voxels.stat().st_size, path, deflated=True)
        image = reader.Execute()
    except RuntimeError as error:
        reason = [line for line in str(error).splitlines() if line.strip()][-1]
        raise InputError(f"File {path} cannot be read as {name}: {reason.strip()[:200]}.") from None
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = directions * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, np.diag([-1.0, -1, 1, 1]) @ affine


def _read_mgh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """FreeSurfer's format, by nibabel."""
    import gzip

    import nibabel as nib

    try:
        with open(path, "rb") as file:
            deflated = file.read(2) == b"\x1f\x8b"
        with (gzip.open if deflated else open)(path, "rb") as stream:
            header = nib.freesurfer.mghformat.MGHHeader.from_fileobj(stream, check=False)
            shape = tuple(int(n) for n in header["dims"])
            check_shape(shape, path)
            dtype = header.get_data_dtype()
            claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
            check_claim(claimed, path.stat().st_size, path, deflated=deflated)
            stream.seek(header.get_data_offset())
            raw = stream.read(claimed)
            affine = header.get_affine()
    except InputError:
        raise
    except Exception as error:  # whatever nibabel makes of damaged bytes
        raise InputError(f"File {path} cannot be read as MGH: {error}.") from None
    if len(raw) < claimed:
        raise InputError(f"File {path} is truncated: it ends before its last voxel.")
    return np.frombuffer(raw, dtype).reshape(shape[:3], order="F"), affine


def check_shape(shape: tuple[int, ...], path: Path) -> None:
    """Raise unless there are three axes longer than 1 (further axes of length 1 do not count)."""
    if len(shape) < 3 or min(shape[:3]) < 2 or set(shape[3:]) - {1}:
        raise InputError(f"File {path} has shape {tuple(shape)}. A volume has three axes longer than 1.")


# Deflate cannot shrink anything further; and what shrinks so far and is so large is not an image.
_DEFLATE_AT_MOST = 1032
BOMB_RATIO, BOMB_BYTES = 500, 1 << 30


def check_claim(claimed: int, stored: int, path: Path, *, deflated: bool) -> None:
    """Raise before memory is taken where a header claims more than its file or this machine can hold."""
    if claimed > stored * (_DEFLATE_AT_MOST if deflated else 1):
        raise InputError(
            f"File {path} is truncated: its header claims {claimed:,} bytes of voxels, more than its "
            f"{stored:,} bytes can hold."
        )
    if deflated and claimed > BOMB_BYTES and claimed > BOMB_RATIO * stored:
        raise InputError(
            f"File {path} of {stored:,} bytes would inflate to {claimed:,}. No image shrinks {BOMB_RATIO}-fold: "
            "refused before memory is taken. Crop it, or save it uncompressed."
        )
    if claimed > BOMB_BYTES:
        import psutil

        free = psutil.virtual_memory().available
        if claimed > free:
            raise InputError(
                f"File {path} needs more memory than there is: {claimed / 2**30:.1f} GB of {free / 2**30:.1f}."
            )
