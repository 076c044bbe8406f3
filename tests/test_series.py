from __future__ import annotations

import csv
import dataclasses
import doctest
import gzip
import hashlib
import http.server
import json
import os
import sys
import threading

import numpy as np
import pytest

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.worlds import series as module
from isonum_core.worlds.series import PER_YEAR, TABLE, find_series, interpolated, original, series_names

PACKAGED, FILED = series_names(packaged=True), series_names(packaged=False)
# Length, missing values, first, last and sum: facts of the published data, so that no release can change them unseen.
FACTS = {
    "sunspots": (309, 0, 5.0, 2.9, 15373.4),
    "co2": (2284, 59, 316.1, 371.5, 756816.5),
    "elnino": (732, 0, 23.11, 22.07, 16903.8),
    "nile": (100, 0, 1120.0, 740.0, 91935.0),
}


@pytest.fixture
def data_folder(shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    return shared / "data"


@pytest.mark.parametrize("name", FACTS)
def test_packaged_values_are_the_published_ones(name):
    values = find_series(name).values[0]
    length, missing, first, last, total = FACTS[name]
    assert (len(values), find_series(name).missing) == (length, missing)
    assert (values[0], values[-1]) == (first, last)
    assert np.nansum(values) == pytest.approx(total, rel=1e-12)  # one rounding per term, at most


@pytest.mark.skipif(not os.environ.get("ISONUM_DATA"), reason="ISONUM_DATA names no folder of original files")
@pytest.mark.parametrize("name", series_names())
def test_every_set_is_there_where_a_folder_is_named(name):
    """So CI fails, and does not skip, when a file is absent from the folder that it names."""
    series = find_series(name)
    assert series.values.dtype == np.float64 and not series.values.flags.writeable
    assert series.values.shape[0] == len(series.ids) and not np.isinf(series.values).any()
    assert series.missing == np.isnan(series.values).sum() < series.values.size / 10


@pytest.mark.parametrize("name", FILED)
def test_the_original_and_the_derived_file_agree(name, data_folder):
    """Twin: tables derived elsewhere from the same originals. Where they differ on purpose, the reason stands here."""
    series = find_series(name)
    values = series.values
    path = data_folder / "series" / f"{name}.csv.gz"
    if name == "ett_h1":
        assert not path.exists(), "its licence forbids derived files"
        assert values.shape == (7, 17420) and values[6, 0] == 30.5310001373291 and series.ids[6] == "OT"
        return
    with gzip.open(path, "rt") as lines:
        rows = [row for row in csv.reader(lines)]
    if name == "solar":
        rows = rows[1:2]  # daily sums of the first site
    if name == "rain":
        rows = rows[::-1]  # cities in alphabetical order
    if name == "elec_victoria":
        rows, values = rows[:1], np.round(values, 4)  # without temperature
    derived = np.array([[np.nan if cell == "" else float(cell) for cell in row[1:]] for row in rows])
    if name == "nn5_weekly":
        assert series.missing == 1210
        derived[np.isnan(values)] = np.nan  # filled there, missing here; the rest is rounded to 6 decimals
        assert np.nanmax(abs(values - derived)) < 1e-6
        return
    assert np.array_equal(values, derived, equal_nan=True)


def test_the_ids_are_those_of_the_files(data_folder):
    first = {name: find_series(name).ids[0] for name in FILED}
    assert first["jewelry"] == "1" and find_series("jewelry").ids[-1] == "314", "a matrix without names"
    assert first["nn5_weekly"] == "NN5-001" and first["exchange_rate"] == "Australia"
    assert first["covid_deaths"] == "Afghanistan | Afghanistan" and find_series("rain").ids == ("New York", "Seattle")
    assert len(set(find_series("hospital").ids)) < len(find_series("hospital").ids), "published ids may repeat"


def test_records_agree_with_the_manifest(data_folder):
    manifest = {entry["name"]: entry for entry in json.loads((data_folder / "MANIFEST.json").read_text())}
    for name, facts in (TABLE["series"] | TABLE["texts"]).items():
        if "file" not in facts:
            continue
        entry = manifest[name]
        given = (facts["source"], facts["sha256"], facts["file"])
        found = (entry["source"]["raw_url"], *(entry.get(f"orig_{k}") or entry[k] for k in ("sha256", "file")))
        if name == "rain":  # the second original holds both cities
            second = entry["second_orig"]
            found = (found[0].replace("seattle-weather.csv", "weather.csv"), second["sha256"], second["file"])
        assert given == found
        if "windows" in facts:
            assert "in {}, out {}".format(*facts["windows"]) in entry["paper_context_horizon"]


@pytest.mark.parametrize("name", series_names())
def test_every_set_says_what_it_is_without_being_read(name, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", "/nowhere")
    series = find_series(name)
    assert series.name == name and series.season >= 1 and series.frequency in PER_YEAR
    for fact in (series.title, series.unit, series.source, series.licence, series.citation, series.identity):
        assert len(fact) > 1
    if series.file:
        assert series.why and len(series.sha256) == 64
        assert series.source.startswith("https://") and len(series.source.split("/")[5]) == 40, "pinned to a commit"
        with pytest.raises(DataAbsent, match=f"{series.file} .* expected in the folder of ISONUM_DATA, got none"):
            _ = series.values


def test_years_span_what_the_source_says(data_folder):
    assert find_series("sunspots").years[[0, -1]].tolist() == [1700, 2008]
    # 732 months from January 1950 end with December 2010.
    assert find_series("elnino").years[-1] == pytest.approx(2010 + 11 / 12, abs=1e-9)
    # The last weekly sample was taken on 29 December 2001; a mean year drifts by at most two days.
    assert find_series("co2").years[-1] == pytest.approx(2001 + 362 / 365, abs=2 / 365)
    assert find_series("hospital").years[-1] == pytest.approx(2006 + 11 / 12)
    assert find_series("ett_h1").years[-1] == pytest.approx(2018 + 176.8 / 365, abs=2 / 365)
    with pytest.raises(IsonumError, match="needs dates, and exchange_rate carries none"):
        _ = find_series("exchange_rate").years


def test_elnino_is_read_along_the_months():
    import statsmodels.datasets as datasets

    frame = datasets.elnino.load_pandas().data
    assert find_series("elnino").values[0, :14].tolist() == [*frame.loc[0].tolist()[1:], *frame.loc[1].tolist()[1:3]]


def test_interpolation_fills_what_is_missing_and_nothing_else():
    raw = find_series("co2").values
    filled, seen = interpolated(raw), ~np.isnan(raw)
    assert np.isfinite(filled).all() and np.array_equal(filled[seen], raw[seen])
    assert find_series("co2").missing == 59 == np.isnan(raw).sum(), "the original is untouched"


def test_interpolation_is_a_straight_line_row_by_row():
    rows = np.array([[0.0, np.nan, np.nan, 3.0, 10.0], [5.0, 4.0, np.nan, 4.0, 4.0]])
    assert interpolated(rows).tolist() == [[0, 1, 2, 3, 10], [5, 4, 4, 4, 4]]


@pytest.mark.parametrize("values", [[np.nan, 1.0, 2.0], [1.0, 2.0, np.nan]])
def test_interpolation_never_extrapolates(values):
    with pytest.raises(IsonumError, match="both ends of each series, got one with a missing first or last"):
        interpolated(np.array([[1.0, 1.0, 1.0], values]))


def test_a_series_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        find_series("nile").name = "amazon"
    with pytest.raises(ValueError, match="read-only"):
        find_series("nile").values[0] = 0


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(IsonumError, match="got 'weather'. These exist: hospital, carparts.* us_unemployment"):
        find_series("weather")


def test_names_are_all_or_the_packaged_or_the_others():
    assert PACKAGED == "co2 elnino nile sunspots us_gdp us_inflation us_unemployment".split()
    assert sorted(PACKAGED + FILED) == sorted(series_names()) and len(FILED) == 11


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0 and doctest.testmod(module).attempted == 1


# A public clone has no data: the same paths with small files that the test writes.
FILES = {
    "exchange_rate": (gzip.compress(b"1,2,3,4,5,6,7,8\n1.5,2,3,4,5,6,7,8.25\n"), (8, 2), [1, 1.5]),
    "ett_h1": (b"date,HUFL,OT\n2016-07-01 00:00:00,5.8,30.5\n2016-07-01 01:00:00,,27.7\n", (2, 2), [5.8, np.nan]),
    "rain": (b"location,date,precipitation\nB,1,0.5\nB,2,1\nA,1,3\nA,2,4\n", (2, 2), [3, 4]),
    "solar": (
        b'7,"G"\nDate,GHI (W/m^2)\n' + b"".join(f"d,{hour}\n".encode() for hour in range(50)),
        (1, 2),
        [276, 852],
    ),
    "covid_deaths": (
        b'Province,Country,Lat,Long,1/22/20,1/23/20,8/20/20,8/21/20\n"Korea, South",Korea,1,2,0,3,4,5\n',
        (1, 3),
        [0, 3, 4],
    ),
}


def _publish(name, data, monkeypatch, **facts):
    """Pretend that `data` is the published file of a set, and let it lie nowhere yet."""
    facts["sha256"] = hashlib.sha256(data).hexdigest()
    monkeypatch.setitem(TABLE["series"], name, TABLE["series"][name] | facts)
    return find_series(name)


@pytest.mark.parametrize("name", FILES)
def test_every_text_format_is_read(name, tmp_path, monkeypatch):
    data, shape, first = FILES[name]
    made = _publish(name, data, monkeypatch)
    (tmp_path / "orig").mkdir()
    (tmp_path / made.file).write_bytes(data)
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    assert made.values.shape == shape and np.allclose(made.values[0], first, equal_nan=True)


def test_a_named_folder_is_never_written_to_and_other_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    with pytest.raises(DataAbsent, match="orig/hospital.rda with sha256 d0699e2c1bdc was expected in .*, got none"):
        original("orig/hospital.rda")
    assert not list(tmp_path.iterdir())
    (tmp_path / "orig").mkdir()
    (tmp_path / "orig" / "hospital.rda").write_bytes(b"something else")
    with pytest.raises(DataAbsent, match="got another. Put it there from https://.*hospital.rda, or unset ISONUM_DATA"):
        original("orig/hospital.rda")
    assert (tmp_path / "orig" / "hospital.rda").read_bytes() == b"something else"


@pytest.fixture
def server():
    """A server on this machine that gives one file for every address, or an error where the file is None."""

    class Answer(http.server.BaseHTTPRequestHandler):
        data: bytes | None = None

        def do_GET(self):
            self.send_response(200 if self.data is not None else 404)
            self.end_headers()
            self.wfile.write(self.data or b"")

        def log_message(self, *args):
            pass

    running = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield Answer, f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.mark.parametrize("folder", [None, ""])
def test_a_download_is_checked_and_kept_in_the_cache(folder, server, tmp_path, monkeypatch, capfd):
    import pooch

    answer, address = server
    monkeypatch.delenv("ISONUM_DATA", raising=False)
    if folder is not None:
        monkeypatch.setenv("ISONUM_DATA", folder)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    data = FILES["rain"][0]
    made = _publish("rain", data, monkeypatch, source=f"{address}/weather.csv")
    answer.data = None
    with pytest.raises(DataAbsent, match="orig/weather.csv could not be had from http://127.0.0.1"):
        original(made.file)
    answer.data = data + b"C,1,2\n"
    with pytest.raises(DataAbsent, match="could not be had from .*hash"):
        original(made.file)
    answer.data = data
    assert original(made.file).read_bytes() == data
    answer.data = None
    assert original(made.file) == tmp_path / "isonum" / "orig" / "weather.csv", "the second time from the cache"
    assert capfd.readouterr().err == "", "a note on stderr would stop the build of the book"


@pytest.mark.parametrize("name", ["pooch", "rdata"])
def test_without_its_library_the_way_out_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    made = _publish("hospital", b"", monkeypatch)
    (tmp_path / "orig").mkdir()
    (tmp_path / made.file).write_bytes(b"")
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    with pytest.raises(IsonumError, match=f"{name} was expected, to read .*hospital.rda, got none. Install isonum"):
        _ = made.values
