"""PET activity to standardised uptake values, by the rules of the Quantitative Imaging Biomarkers Alliance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from umdlib.cohort import frames, nuclides
from umdlib.errors import InputError

KINDS: dict[str, str] = {
    "bw": "by body weight (g/ml)",
    "lbm": "by lean body mass (g/ml), Janmahasatian 2005",
    "bsa": "by body surface area (cm2/ml), Du Bois 1916",
}

# DICOM keyword -> (group,element): what errors call a missing tag.
_TAGS: dict[str, str] = {
    "Units": "0054,1001",
    "CorrectedImage": "0028,0051",
    "DecayCorrection": "0054,1102",
    "PatientWeight": "0010,1030",
    "PatientSize": "0010,1020",
    "PatientSex": "0010,0040",
    "RadionuclideTotalDose": "0018,1074",
    "RadionuclideHalfLife": "0018,1075",
    "RadiopharmaceuticalStartTime": "0018,1072",
    "RadiopharmaceuticalStartDateTime": "0018,1078",
    "SeriesDate": "0008,0021",
    "SeriesTime": "0008,0031",
    "AcquisitionDate": "0008,0022",
    "AcquisitionTime": "0008,0032",
    "FrameReferenceTime": "0054,1300",
    "ActualFrameDuration": "0018,1242",
    "SUVType": "0054,1006",
}

# Longest time from injection to scan that is taken for one, in half-lives: 3 % of the activity is left.
_LONGEST_HALF_LIVES = 5.0

# A shorter uptake than this (s) is worth a word.
_SHORT_S = 600.0

_DAY_S = 86400


@dataclass(frozen=True)
class Acquisition:
    """Data of one PET series for its conversion, as DICOM names them.

    Attributes
    ----------
    tags
        Keyword of `_TAGS` -> text; missing tags are not in it.
    acquired
        (date and time, frame reference time in ms, frame duration in ms) of the earliest slice.
    philips
        Philips' private factors (7053,xx00) to SUV and (7053,xx09) to Bq/ml; None where missing.
    ge_scan
        GE's private time of the scan (0009,xx0d).
    assumed
        Whether corrections that are not stated are assumed: tables of public sets lack them.
    nuclide
        Of `nuclides.NUCLIDES`; empty where nothing names it.
    """

    tags: Mapping[str, str]
    acquired: tuple[datetime | None, float, float] = (None, 0.0, 0.0)
    philips: tuple[float | None, float | None] = (None, None)
    ge_scan: datetime | None = None
    assumed: bool = False
    nuclide: str = ""

    @classmethod
    def of_dicom(cls, datasets: Iterable) -> Acquisition:
        """From the slices of a series, as pydicom reads them."""
        datasets = list(datasets)
        first = datasets[0]
        injected, nuclide = _injection(first)
        tags = {k: _text(first, k) for k in _TAGS} | injected
        if frames.is_multi_frame(first):
            tags |= {k: tags[k] or _as_text(frames.value(first, k)) for k in _TAGS} | frames.pet_tags(first)
        injected = "RadiopharmaceuticalStartDateTime"
        tags[injected] = _in_zone(tags[injected], _text(first, "TimezoneOffsetFromUTC"))
        slices = []
        day = tags["SeriesDate"] = tags["SeriesDate"] or _text(first, "StudyDate") or tags["AcquisitionDate"]
        series = moment(day, tags["SeriesTime"])
        for d in datasets:
            when = moment(_text(d, "AcquisitionDate") or day, _text(d, "AcquisitionTime"))
            if when is not None and series is not None and _past_midnight(series, when):
                when += timedelta(days=1)
            if when is not None:
                slices.append(
                    (when, _number(_text(d, "FrameReferenceTime")), _number(_text(d, "ActualFrameDuration")))
                )
        earliest = min(slices, key=lambda s: s[0]) if slices else (None, 0.0, 0.0)
        return cls(
            {k: v for k, v in tags.items() if v},
            (earliest[0], earliest[1] or 0.0, earliest[2] or 0.0),
            tuple(_number(_private(first, 0x7053, "Philips PET Private Group", e)) for e in (0x00, 0x09)),
            moment("", _private(first, 0x0009, "GEMS_PETD_01", 0x0D)),
            nuclide=nuclide,
        )

    @classmethod
    def of_table(cls, row: Mapping[str, str]) -> Acquisition:
        """From a row whose columns are DICOM's keywords in any case; corrections that it lacks are assumed."""
        row = {str(k).lower(): str(v).strip() for k, v in row.items()}
        tags = {k: row[k.lower()] for k in _TAGS if row.get(k.lower(), "").lower() not in ("", "nan", "n/a")}
        tags |= {k: _table_time(text, k) for k, text in tags.items() if k.endswith(("Date", "Time"))}
        when = moment(tags.get("AcquisitionDate", ""), tags.get("AcquisitionTime", ""))
        named = nuclides.nuclide_of(row.get("radionuclide", ""), row.get("radiopharmaceutical", ""))
        return cls(tags, (when, 0.0, 0.0), assumed=True, nuclide=named)

    def need(self, keyword: str) -> str:
        """Text of a tag; raises InputError with the tag's name where it is missing."""
        if keyword not in self.tags:
            raise InputError(f"{keyword} ({_TAGS[keyword]}) is missing. Without it PET cannot become SUV")
        return self.tags[keyword]

    def positive(self, keyword: str) -> float:
        """Number of a tag that must be above 0."""
        number = _number(self.need(keyword))
        if number is None or not 0 < number < math.inf:
            raise InputError(
                f"{keyword} ({_TAGS[keyword]}) is '{self.tags[keyword]}'. Must be a number above 0"
            )
        return number


def _past_midnight(series: datetime, slice_: datetime) -> bool:
    """Whether a slice was taken after the midnight that its series ran through, and keeps the date of its start."""
    return series.date() == slice_.date() and series.hour >= 20 and slice_.hour < 4


def _table_time(text: str, key: str = "") -> str:
    """A date or time of a table, of which a spreadsheet took the leading zero or to which it gave decimals.

    Examples
    --------
    >>> _table_time("90000.0"), _table_time("9:00:00"), _table_time("20240301.0"), _table_time("104946.2")
    ('090000', '09:00:00', '20240301', '104946.2')
    >>> _table_time("2024-03-01 00:00:00", "AcquisitionDate"), _table_time("1899-12-31 09:00:00", "SeriesTime")
    ('2024-03-01', '09:00:00')
    """
    text = re.sub(r"\.0+$", "", text)
    if (cell := re.fullmatch(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)", text)) is not None:
        day, clock = cell.groups()
        return day if key.endswith("Date") else f"{day}{clock}".replace("-", "") if "Date" in key else clock
    return f"0{text}" if re.match(r"\d{5}(\.|$)|\d:", text) else text


def _injection(dataset) -> tuple[dict[str, str], str]:
    """Tags and nuclide of the injection; raises InputError where there are several that differ, as of two tracers."""
    items = [
        {k: _text(item, k) for k in _TAGS if k.startswith("Radio")}
        for item in dataset.get("RadiopharmaceuticalInformationSequence") or [{}]
    ]
    if any(item != items[0] for item in items):
        raise InputError(
            f"RadiopharmaceuticalInformationSequence (0054,0016) holds {len(items)} injections that differ. Must be one"
        )
    first = (dataset.get("RadiopharmaceuticalInformationSequence") or [{}])[0]
    codes = [str(c.get("CodeMeaning") or "") for c in first.get("RadionuclideCodeSequence") or ()]
    return items[0], nuclides.nuclide_of(*codes, str(first.get("Radiopharmaceutical") or ""))


def _in_zone(time: str, zone: str) -> str:
    """A date and time with an offset of its own (&ZZXX) in a series' zone; unchanged where either has none.

    Examples
    --------
    >>> _in_zone("20240301080000.00+0000", "+0100"), _in_zone("20240301080000+0000", "")
    ('20240301090000', '20240301080000+0000')
    """
    own, full = re.search(r"[+-]\d{4}$", time), moment("", time)
    if own is None or full is None or not re.fullmatch(r"[+-]\d{4}", zone):
        return time
    ahead = [int(f"{z[0]}1") * timedelta(hours=int(z[1:3]), minutes=int(z[3:])) for z in (zone, own[0])]
    return f"{full + ahead[0] - ahead[1]:%Y%m%d%H%M%S}"


def suv_factor(acquisition: Acquisition, *, kind: str = "bw", source: str = "the series") -> float:
    """Factor from rescaled pixel values to SUV.

    Returns
    -------
    float
        BQML: (weight in g, lean mass in g or surface in cm2) / dose in Bq, the dose decayed from injection to
        the start of the scan where the image is corrected to START, and not where it is corrected to ADMIN.
        CNTS: Philips' own factor, or its factor to Bq/ml and then as BQML. GML: 1.

    Raises
    ------
    InputError
        A tag that is missing or not possible, by its name and number; images that are not corrected for
        attenuation (ATTN) and decay (DECY); an injection that does not precede the scan by less than a day.

    Notes
    -----
    QIBA, Standardized Uptake Value, vendor-neutral pseudo-code. Lean body mass: Janmahasatian et al., Clin
    Pharmacokinet 2005, doi:10.2165/00003088-200544100-00004. Surface: Du Bois, Arch Intern Med 1916.
    """
    if kind not in KINDS:
        raise InputError(f"Unknown SUV '{kind}'. Known: {', '.join(KINDS)}.")
    try:
        return _factor(acquisition, kind)
    except InputError as error:
        raise InputError(f"PET of {source}: {str(error).rstrip('.')}.") from None


def _factor(a: Acquisition, kind: str) -> float:
    """The factor, without the name of the series in errors."""
    unit = a.need("Units").upper()
    _check_corrections(a)
    if unit == "GML":
        stated = a.tags.get("SUVType", "BW").upper()
        if stated != "BW":
            raise InputError(f"SUVType ({_TAGS['SUVType']}) is {stated}. Only BW can be taken as it is")
        return 1.0 if kind == "bw" else _size(a, kind) / (a.positive("PatientWeight") * 1000)
    if unit == "CNTS":
        to_suv, to_activity = a.philips
        if to_suv:
            return to_suv if kind == "bw" else to_suv * _size(a, kind) / (a.positive("PatientWeight") * 1000)
        if not to_activity:
            raise InputError(
                "Units are CNTS and Philips' factors (7053,xx00) and (7053,xx09) are missing or 0"
            )
        return to_activity * _size(a, kind) / _decayed_dose(a)
    if unit != "BQML":
        raise InputError(f"Units ({_TAGS['Units']}) are {unit}. Must be BQML, CNTS (Philips) or GML")
    return _size(a, kind) / _decayed_dose(a)


def _check_corrections(a: Acquisition) -> None:
    """Refuse images that are not corrected for attenuation and decay."""
    if a.assumed and "CorrectedImage" not in a.tags:
        return
    words = {w.strip().upper() for w in re.split(r"[\\,;\[\]' ]+", a.need("CorrectedImage"))}
    for word, meaning in (("ATTN", "attenuation"), ("DECY", "decay")):
        if word not in words:
            raise InputError(
                f"CorrectedImage ({_TAGS['CorrectedImage']}) lacks {word}: not corrected for {meaning}"
            )
    if a.tags.get("DecayCorrection", "").upper() == "NONE":
        raise InputError(f"DecayCorrection ({_TAGS['DecayCorrection']}) is NONE. Must be START or ADMIN")


def _decayed_dose(a: Acquisition) -> float:
    """Injected activity (Bq) at the time that the image is decay-corrected to."""
    dose = a.positive("RadionuclideTotalDose")
    if dose < 1e5:
        raise InputError(
            f"RadionuclideTotalDose ({_TAGS['RadionuclideTotalDose']}) is {dose:g} Bq, less than 0.1 MBq: is it in MBq?"
        )
    how = a.tags.get("DecayCorrection", "START" if a.assumed else "").upper()
    if how == "ADMIN":
        return dose
    if how != "START":
        raise InputError(f"DecayCorrection ({_TAGS['DecayCorrection']}) is '{how}'. Must be START or ADMIN")
    return dose * 2.0 ** (-uptake_s(a)[0] / _half_life(a))


def _half_life(a: Acquisition) -> float:
    """Half-life (s), of the nuclide where the tag is missing."""
    tag = "RadionuclideHalfLife"
    return nuclides.half_life_s(a.tags.get(tag), a.nuclide, f"{tag} ({_TAGS[tag]})")


def uptake_s(a: Acquisition) -> tuple[float, str]:
    """Seconds from injection to scan, and a word where the injection's date had to be repaired.

    Notes
    -----
    The injection is taken on the day of the scan, or on the day before where that would put it after the scan
    (midnight). A full date one day too late, with a time that fits the day of the scan, is taken on that day.
    """
    scan, longest = scan_start(a), _LONGEST_HALF_LIVES * _half_life(a)
    stated = a.tags.get("RadiopharmaceuticalStartDateTime", "")
    full = moment("", stated)
    if full is not None and min(full.year, scan.year) > 1900:  # else an anonymiser took a date away
        seconds = (scan - full).total_seconds()
        if -_DAY_S <= seconds < 0 and 0 <= seconds + _DAY_S <= 6 * 3600:
            return (
                seconds + _DAY_S,
                "the injection is dated one day after the scan; it is taken on the scan's day",
            )
    else:
        clock = full or moment("", a.tags.get("RadiopharmaceuticalStartTime", ""))
        if clock is None:
            tag = "RadiopharmaceuticalStartTime"
            raise InputError(
                f"{tag} ({_TAGS[tag]}) is '{a.tags.get(tag) or stated or a.need(tag)}'. Must be a time"
            )
        injected = scan.replace(
            hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=clock.microsecond
        )
        seconds = (scan - injected).total_seconds()
        seconds += _DAY_S if seconds < 0 else 0
    if not 0 <= seconds <= longest:
        raise InputError(
            f"The injection is {seconds / 3600:.1f} h before the scan. Must be 0 to {longest / 3600:.1f} h "
            f"({_LONGEST_HALF_LIVES:g} half-lives): see RadiopharmaceuticalStartDateTime "
            f"({_TAGS['RadiopharmaceuticalStartDateTime']}), RadiopharmaceuticalStartTime and SeriesTime"
        )
    short = f"the scan begins {seconds:.0f} s after the injection: is that the protocol?"
    return seconds, short if seconds < _SHORT_S else ""


def scan_start(a: Acquisition) -> datetime:
    """Time that an image with decay correction START is corrected to.

    Notes
    -----
    The series' time, unless it is later than the first slice's: then the series was written again, and it is GE's
    private scan time, or the first slice's time less its frame reference time plus the time within the frame at
    which the mean count rate occurs.
    """
    series = moment(a.tags.get("SeriesDate", ""), a.tags.get("SeriesTime", ""))
    acquired, reference_ms, duration_ms = a.acquired
    if series is not None and (acquired is None or series <= acquired):
        return series
    if a.ge_scan is not None:
        return a.ge_scan
    if acquired is None:
        raise InputError(f"SeriesTime ({_TAGS['SeriesTime']}) and AcquisitionTime are missing. One is needed")
    if reference_ms > 0 and duration_ms > 0:
        decay = math.log(2) / _half_life(a)
        frame = decay * duration_ms / 1000
        within = math.log(frame / (1 - math.exp(-frame))) / decay
        return acquired + timedelta(seconds=within - reference_ms / 1000)
    return acquired


def _size(a: Acquisition, kind: str) -> float:
    """Weight or lean mass in g, or surface in cm2."""
    weight = a.positive("PatientWeight")
    if not 1 <= weight <= 400:
        raise InputError(f"PatientWeight ({_TAGS['PatientWeight']}) is {weight:g} kg. Must be 1 to 400")
    if kind == "bw":
        return weight * 1000
    height = a.positive("PatientSize")
    if not 0.4 <= height <= 2.5:
        raise InputError(f"PatientSize ({_TAGS['PatientSize']}) is {height:g} m. Must be 0.4 to 2.5")
    sex = a.need("PatientSex").upper() if kind == "lbm" else ""
    if kind == "lbm" and sex not in ("F", "M"):
        raise InputError(f"PatientSex ({_TAGS['PatientSex']}) is '{sex}'. Lean body mass needs F or M")
    return body_size(kind, weight, height, sex)


def body_size(kind: str, weight_kg: float, height_m: float = 1.0, sex: str = "") -> float:
    """Body size that normalises SUV: weight or lean body mass in g, or body surface in cm2.

    Examples
    --------
    >>> round(body_size("lbm", 70, 1.75, "M")), round(body_size("bsa", 70, 1.75))
    (55857, 18481)
    """
    if kind == "bw":
        return weight_kg * 1000
    if kind == "bsa":
        return 71.84 * weight_kg**0.425 * (height_m * 100) ** 0.725
    base, slope = (6680, 216) if sex == "M" else (8780, 244)
    return 9270 * weight_kg / (base + slope * weight_kg / height_m**2) * 1000


def moment(date: str, time: str) -> datetime | None:
    """Date and time of DICOM's texts; a time alone is on a day of its own in 1900; None where there is none.

    Examples
    --------
    >>> moment("20000907", "112011.50")
    datetime.datetime(2000, 9, 7, 11, 20, 11, 500000)
    >>> moment("", "20041209112900.00+0100").hour, moment("20000907", "") is None
    (11, True)
    """
    time = re.sub(r"(?<=\d{8}) |[+-]\d{4}$", "", time.strip()).replace(":", "")
    if re.fullmatch(r"\d{10}|\d{12}|\d{14}(\.\d*)?", time):
        date, time = time[:8], time[8:]
    date = date.strip().replace("-", "").replace(".", "").replace("/", "") or "19000102"
    match = re.fullmatch(r"(\d{2})(\d{2})?(\d{2})?(\.\d*)?", time)
    if match is None or not re.fullmatch(r"\d{8}", date):
        return None
    hour, minute, second = (int(match[n] or 0) for n in (1, 2, 3))
    try:
        day = datetime(int(date[:4]), int(date[4:6]), int(date[6:]), hour, minute, min(second, 59))
    except ValueError:
        return None
    fraction = float(match[4] or 0) if len(match[4] or "") > 1 else 0.0
    return day + timedelta(seconds=fraction)


def _text(dataset, keyword: str) -> str:
    """A tag of a pydicom data set as text; empty where it is missing or has several kinds of fault."""
    return _as_text(dataset.get(keyword))


def _as_text(value) -> str:
    """A value of a tag as text."""
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(v) for v in value)


def _private(dataset, group: int, creator: str, element: int) -> str:
    """A private tag as text; empty where its block is missing."""
    try:
        value = dataset.private_block(group, creator)[element].value
    except KeyError:  # some anonymisers take the creator and leave its values
        bare = (group, 0x1000 + element)
        value = dataset[bare].value if bare in dataset and (group, 0x0010) not in dataset else ""
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else str(value)


def _number(text: str) -> float | None:
    """A number, or None."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
