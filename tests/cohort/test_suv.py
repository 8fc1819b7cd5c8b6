"""PET to SUV by hand: every vendor's encoding, the times of injection and scan, and what is refused by its tag."""

from datetime import datetime

import pytest
from pydicom.dataset import Dataset

from umdlib.cohort.suv import Acquisition, moment, scan_start, suv_factor, uptake_s
from umdlib.errors import InputError

HALF_LIFE = 6586.2  # F-18


def slices(units="BQML", **tags):
    """One slice: 70 kg, 350 MBq at 09:00:00, scan one half-life later. None removes a tag."""
    d = Dataset()
    values = {
        "Units": units,
        "CorrectedImage": ["NORM", "DECY", "ATTN", "SCAT"],
        "DecayCorrection": "START",
        "PatientWeight": "70",
        "PatientSize": "1.75",
        "PatientSex": "M",
        "SeriesDate": "20240301",
        "SeriesTime": "104946.2",
        "AcquisitionDate": "20240301",
        "AcquisitionTime": "104946.2",
    }
    injected = {
        "RadionuclideTotalDose": "350000000",
        "RadionuclideHalfLife": str(HALF_LIFE),
        "RadiopharmaceuticalStartTime": "090000",
    }
    for name, value in tags.items():
        (injected if name.startswith("Radio") else values)[name] = value
    for name, value in values.items():
        if value is not None:
            setattr(d, name, value)
    item = Dataset()
    for name, value in injected.items():
        if value is not None:
            setattr(item, name, value)
    d.RadiopharmaceuticalInformationSequence = [item]
    return [d]


def factor(units="BQML", kind="bw", **tags):
    return suv_factor(Acquisition.of_dicom(slices(units, **tags)), kind=kind)


def philips(to_suv=None, to_activity=None, **tags):
    (d,) = slices("CNTS", **tags)
    block = d.private_block(0x7053, "Philips PET Private Group", create=True)
    for element, value in ((0x00, to_suv), (0x09, to_activity)):
        if value is not None:
            block.add_new(element, "DS", value)
    return suv_factor(Acquisition.of_dicom([d]))


# 350 MBq after one half-life is 175 MBq: SUV = value x 70,000 g / 175e6 Bq
START = 70000 / 175e6


def test_activity_of_siemens_and_ge_is_corrected_to_the_start_of_the_scan():
    assert factor() == pytest.approx(START, rel=1e-9)


def test_activity_corrected_to_the_administration_needs_no_decay_of_the_dose():
    assert factor(DecayCorrection="ADMIN") == pytest.approx(70000 / 350e6, rel=1e-9)


def test_philips_counts_by_its_factor_to_suv():
    assert philips(to_suv="0.000412") == pytest.approx(0.000412, rel=1e-9)


def test_philips_counts_by_its_factor_to_activity():
    assert philips(to_suv="0", to_activity="1.5") == pytest.approx(1.5 * START, rel=1e-9)


def test_philips_counts_without_a_factor_are_refused_by_their_tags():
    with pytest.raises(InputError, match=r"\(7053,xx00\) and \(7053,xx09\) are missing or 0"):
        philips()


def test_ge_grams_per_millilitre_are_suv_already():
    assert factor("GML") == 1.0
    with pytest.raises(InputError, match=r"SUVType \(0054,1006\) is LBM"):
        factor("GML", SUVType="LBM")


def test_lean_mass_and_surface():
    # Janmahasatian, man, 70 kg, 1.75 m: BMI 22.857; 9270 x 70 / (6680 + 216 x 22.857) = 55.857 kg
    assert factor(kind="lbm") == pytest.approx(55857.1 / 175e6, rel=1e-4)
    # woman: 9270 x 70 / (8780 + 244 x 22.857) = 45.197 kg
    assert factor(kind="lbm", PatientSex="F") == pytest.approx(45197.0 / 175e6, rel=1e-4)
    # Du Bois: 0.007184 x 70^0.425 x 175^0.725 = 1.8481 m2
    assert factor(kind="bsa") == pytest.approx(18481.0 / 175e6, rel=1e-4)
    assert factor("GML", kind="lbm") == pytest.approx(55857.1 / 70000, rel=1e-4)


def test_an_injection_before_midnight():
    late = {"RadiopharmaceuticalStartTime": "233000", "SeriesTime": "003000", "AcquisitionTime": "003000"}
    assert factor(**late) == pytest.approx(70000 / (350e6 * 2 ** (-3600 / HALF_LIFE)), rel=1e-9)
    dated = late | {"RadiopharmaceuticalStartDateTime": "20240229233000.00"}
    assert factor(**dated) == pytest.approx(factor(**late), rel=1e-12)


def test_an_injection_in_another_time_zone():
    """08:00 in Greenwich is 09:00 at the scanner; without the scanner's zone the clock is taken as it is."""
    there = {"RadiopharmaceuticalStartDateTime": "20240301080000.00+0000"}
    assert factor(**there, TimezoneOffsetFromUTC="+0100") == pytest.approx(START, rel=1e-9)
    assert factor(RadiopharmaceuticalStartDateTime="20240301090000+0100") == pytest.approx(START, rel=1e-9)
    late = {"SeriesTime": "040000", "AcquisitionTime": "040000", "TimezoneOffsetFromUTC": "-0930"}
    hours = uptake_s(
        Acquisition.of_dicom(slices(RadiopharmaceuticalStartDateTime="20240301123000+0000", **late))
    )
    assert hours[0] == 3600


@pytest.mark.parametrize("gone", [("AcquisitionDate",), ("SeriesDate", "AcquisitionDate")])
def test_dates_that_an_anonymiser_took_away_leave_the_clock(gone):
    """The slice was taken 5 min after the start of the scan; the series' time counts all the same."""
    dates = dict.fromkeys(gone) | {"AcquisitionTime": "105446.2"}
    injected = {"RadiopharmaceuticalStartDateTime": "20240301090000"}
    assert factor(**dates, **injected) == pytest.approx(START, rel=1e-9)
    assert factor(**dates, **injected, StudyDate="20240301") == pytest.approx(START, rel=1e-9)


def coded(meaning, **tags):
    """The factor of a slice whose nuclide is coded."""
    (d,) = slices(**tags)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "X", "SRT", meaning
    d.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = [code]
    return suv_factor(Acquisition.of_dicom([d]))


def test_a_half_life_is_that_of_a_nuclide_in_seconds():
    """109.77 is F-18's in minutes: SUV came out 2e14 times too high, and in hours as a division by zero."""
    for wrong in ("109.77", "1.83", "0.0001", "-6586"):
        with pytest.raises(InputError, match="half-life of a nuclide of PET in seconds"):
            factor(RadionuclideHalfLife=wrong)
    with pytest.raises(InputError, match="that of F18, and the nuclide is Ga68"):
        coded("^68^Gallium")
    assert coded("^18^Fluorine", RadionuclideHalfLife=None) == pytest.approx(START, rel=1e-9)


def test_an_injection_more_than_five_half_lives_ago_is_refused_and_one_of_days_is_not():
    """A clock that is later than the scan, or an anonymiser's midnight, is no injection of the day before."""
    for clock in ("110000", "000000"):
        with pytest.raises(InputError, match=r"Must be 0 to 9.1 h \(5 half-lives\)"):
            factor(RadiopharmaceuticalStartTime=clock)
    zr = {"RadionuclideHalfLife": "282276", "RadiopharmaceuticalStartDateTime": "20240227104946.2"}
    assert factor(**zr) == pytest.approx(70000 / (350e6 * 2 ** (-3 * 86400 / 282276)), rel=1e-9)
    assert (
        "0 s after the injection"
        in uptake_s(Acquisition.of_dicom(slices(RadiopharmaceuticalStartTime="104946")))[1]
    )


@pytest.mark.filterwarnings("ignore:Invalid value for VR DT")
@pytest.mark.parametrize(
    "injected", ["202403010900", "2024030109", "20240301", "01-03-2024 09:00:00", "20240301 09:00:00"]
)
def test_an_injections_date_may_be_short_or_as_a_viewer_shows_it(injected):
    assert factor(RadiopharmaceuticalStartDateTime=injected) == pytest.approx(START, rel=1e-9)


def test_an_injection_without_a_readable_time_is_named():
    with pytest.raises(
        InputError, match=r"RadiopharmaceuticalStartTime \(0018,1072\) is '20240301'. Must be a time"
    ):
        factor(RadiopharmaceuticalStartDateTime="20240301", RadiopharmaceuticalStartTime=None)


def test_slices_past_midnight_that_keep_the_date_of_their_series():
    times = {"SeriesTime": "235000", "RadiopharmaceuticalStartDateTime": "20240301225000"}
    scan = slices(AcquisitionTime="235000", **times) + slices(AcquisitionTime="000500", **times)
    assert uptake_s(Acquisition.of_dicom(scan)) == (3600, "")


def test_philips_factor_as_bytes_and_without_its_creator():
    (d,) = slices("CNTS")
    d.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "UN", b"0.000412 ")
    assert suv_factor(Acquisition.of_dicom([d])) == 0.000412
    del d[0x70530010]
    assert suv_factor(Acquisition.of_dicom([d])) == 0.000412


def test_two_injections_that_differ_are_refused():
    (d,) = slices()
    (other,) = slices(RadionuclideTotalDose="100000000")
    d.RadiopharmaceuticalInformationSequence.append(other.RadiopharmaceuticalInformationSequence[0])
    with pytest.raises(InputError, match=r"\(0054,0016\) holds 2 injections that differ"):
        Acquisition.of_dicom([d])


def test_an_injection_dated_one_day_after_the_scan_is_repaired_with_a_word():
    wrong = Acquisition.of_dicom(slices(RadiopharmaceuticalStartDateTime="20240302090000"))
    seconds, word = uptake_s(wrong)
    assert seconds == pytest.approx(HALF_LIFE) and "one day after the scan" in word
    assert uptake_s(Acquisition.of_dicom(slices()))[1] == ""


@pytest.mark.parametrize("date", ["20240304090000", "20240220090000", "20240302230000"])
def test_an_injection_on_another_day_is_refused(date):
    with pytest.raises(InputError, match="RadiopharmaceuticalStartDateTime"):
        factor(RadiopharmaceuticalStartDateTime=date)


def test_a_series_that_was_written_again_is_timed_by_its_slices():
    # series written at 15:00; slice at 10:55:00, its reference time 300 s after the start, frame of 120 s.
    # mean count rate within the frame: ln(kT / (1 - exp(-kT))) / k with kT = ln 2 x 120 / 6586.2 -> 59.937 s
    again = slices(
        SeriesTime="150000",
        AcquisitionTime="105500",
        FrameReferenceTime="300000",
        ActualFrameDuration="120000",
    )
    start = scan_start(Acquisition.of_dicom(again))
    assert (start - datetime(2024, 3, 1, 10, 50, 59, 937000)).total_seconds() == pytest.approx(0, abs=0.01)
    block = again[0].private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20240301104946.20")
    assert scan_start(Acquisition.of_dicom(again)) == datetime(2024, 3, 1, 10, 49, 46, 200000)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"PatientWeight": None}, r"PatientWeight \(0010,1030\) is missing"),
        ({"PatientWeight": "0"}, r"PatientWeight \(0010,1030\) is '0"),
        ({"PatientWeight": "70000"}, "Must be 1 to 400"),
        ({"RadionuclideTotalDose": None}, r"RadionuclideTotalDose \(0018,1074\) is missing"),
        ({"RadionuclideTotalDose": "350"}, "is it in MBq"),
        ({"RadionuclideHalfLife": None}, r"RadionuclideHalfLife \(0018,1075\) is missing"),
        ({"RadiopharmaceuticalStartTime": None}, r"RadiopharmaceuticalStartTime \(0018,1072\) is missing"),
        ({"CorrectedImage": ["NORM", "DECY"]}, r"CorrectedImage \(0028,0051\) lacks ATTN"),
        ({"CorrectedImage": ["NORM", "ATTN"]}, r"CorrectedImage \(0028,0051\) lacks DECY"),
        ({"CorrectedImage": None}, r"CorrectedImage \(0028,0051\) is missing"),
        ({"DecayCorrection": "NONE"}, r"DecayCorrection \(0054,1102\) is NONE"),
        ({"DecayCorrection": None}, r"DecayCorrection \(0054,1102\) is ''"),
        ({"SeriesTime": None, "AcquisitionTime": None}, "SeriesTime .* and AcquisitionTime are missing"),
        ({"units": "PROPCPS"}, r"Units \(0054,1001\) are PROPCPS"),
    ],
)
def test_what_is_missing_or_not_possible_is_named_by_its_tag(tags, said):
    with pytest.raises(InputError, match=said):
        factor(**tags)


def test_lean_mass_needs_height_and_sex():
    with pytest.raises(InputError, match=r"PatientSize \(0010,1020\) is missing"):
        factor(kind="lbm", PatientSize=None)
    with pytest.raises(InputError, match=r"PatientSex \(0010,0040\) is 'O'"):
        factor(kind="lbm", PatientSex="O")
    with pytest.raises(InputError, match="Unknown SUV 'x'"):
        factor(kind="x")


def test_a_table_of_the_same_tags_gives_the_same_factor():
    row = {
        "Units": "BQML",
        "PATIENTWEIGHT": "70",
        "RadionuclideTotalDose": "350000000",
        "SeriesTime": "104946.2",
    }
    row |= {"RadionuclideHalfLife": str(HALF_LIFE), "SeriesDate": "20240301.0"}
    row |= {"AcquisitionDate": "2024-03-01 00:00:00", "AcquisitionTime": "10:49:46.2"}
    for spreadsheet in ("09:00:00", "9:00:00", "90000", "90000.0", "1899-12-31 09:00:00"):
        injected = {"RadiopharmaceuticalStartTime": spreadsheet}
        assert suv_factor(Acquisition.of_table(row | injected)) == pytest.approx(START, rel=1e-9)


def test_times_that_are_none():
    assert moment("20240301", "") is None and moment("2024", "0900") is None and moment("", "25") is None
    assert moment("2024.03.01", "0900") == datetime(2024, 3, 1, 9)
