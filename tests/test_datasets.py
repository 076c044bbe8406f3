from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import http.server
import threading

import numpy as np
import pytest

from isonum_core.errors import IsonumError
from isonum_core.worlds.datasets import DATASETS
from isonum_core.worlds.fetch import original
from isonum_core.worlds.panels import load
from isonum_core.worlds.series import PER_YEAR


@pytest.fixture
def data_folder(shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    return shared / "data"


@pytest.mark.parametrize("name", DATASETS)
def test_the_original_and_the_derived_file_agree(name, data_folder):
    """Twin: tables derived elsewhere from the same originals. Where they differ on purpose, the reason stands here."""
    panel = load(name)
    assert panel.values.dtype == np.float64 and not panel.values.flags.writeable
    assert panel.missing == np.isnan(panel.values).sum() and not np.isinf(panel.values).any()
    assert len(panel.ids) == len(panel.values)
    path = data_folder / "series" / f"{name}.csv.gz"
    if name == "ett_h1":
        assert not path.exists(), "its licence forbids derived files"
        assert panel.values.shape == (7, 17420) and panel.values[6, 0] == 30.5310001373291
        return
    with gzip.open(path, "rt") as lines:
        rows = list(csv.reader(lines))
    derived = np.array(
        [[np.nan if cell == "" else float(cell) for cell in row[1:]] for row in rows if len(row) == len(rows[0])]
    )
    if name == "solar":
        derived = np.array([[float(cell) for cell in rows[1][1:]]])  # daily sums of the first site
    if name == "rain":
        derived = derived[::-1]  # cities in alphabetical order
    if name == "elec_victoria":
        derived, panel = (
            derived[:1],
            dataclasses.replace(panel, values=np.round(panel.values, 4)),
        )  # without temperature
    if name == "nn5_weekly":
        assert panel.missing == 1210
        derived[np.isnan(panel.values)] = np.nan  # filled there, missing here; the rest is rounded to 6 decimals
        assert np.nanmax(abs(panel.values - derived)) < 1e-6
        return
    assert np.array_equal(panel.values, derived, equal_nan=True)


def test_records_agree_with_the_manifest(data_folder):
    import json

    manifest = {entry["name"]: entry for entry in json.loads((data_folder / "MANIFEST.json").read_text())}
    for name, dataset in DATASETS.items():
        entry = manifest[name]
        origin = (entry["source"]["raw_url"], entry["orig_sha256"])
        if name == "rain":  # the second original holds both cities
            origin = (origin[0].replace("seattle-weather.csv", "weather.csv"), entry["second_orig"]["sha256"])
        assert (dataset.url, dataset.sha256) == origin
        if dataset.windows:
            assert "in {}, out {}".format(*dataset.windows) in entry["paper_context_horizon"]


@pytest.mark.parametrize("name", DATASETS)
def test_records_are_complete(name):
    dataset = DATASETS[name]
    assert dataset.name == name and len(dataset.sha256) == 64 and dataset.season >= 1
    assert dataset.url.startswith("https://") and len(dataset.url.split("/")[5]) == 40, "pinned to a commit"
    assert dataset.frequency in PER_YEAR
    for fact in (dataset.title, dataset.unit, dataset.licence, dataset.citation, dataset.identity, dataset.why):
        assert fact


def test_a_row_becomes_a_series_with_its_dates(data_folder):
    series = load("hospital").series(0)
    assert series.values[0] == 27 and series.years[0] == 2000 and series.missing == 0
    assert series.years[-1] == pytest.approx(2006 + 11 / 12)
    assert load("ett_h1").series(6).years[-1] == pytest.approx(2018 + 176.8 / 365, abs=2 / 365)
    with pytest.raises(IsonumError, match="needs dates, and exchange_rate carries none"):
        load("exchange_rate").series(0)
    with pytest.raises(IsonumError, match="a row from 0 to 766 of hospital was expected, got 767"):
        load("hospital").series(767)


# A public clone has no data: the same paths with small files that the test writes.
FILES = {
    "exchange_rate": (gzip.compress(b"1,2,3,4,5,6,7,8\n1.5,2,3,4,5,6,7,8.25\n"), (8, 2), [1, 1.5]),
    "ett_h1": (b"date,HUFL,OT\n2016-07-01 00:00:00,5.8,30.5\n2016-07-01 01:00:00,5.6,27.7\n", (2, 2), [5.8, 5.6]),
    "rain": (b"location,date,precipitation\nB,1,0.5\nB,2,1\nA,1,3\nA,2,4\n", (2, 2), [3, 4]),
    "solar": (
        b'7,"G"\nDate,GHI (W/m^2)\n' + b"".join(f"d,{hour}\n".encode() for hour in range(48)),
        (1, 2),
        [276, 852],
    ),
    "covid_deaths": (
        b'Province,Country,Lat,Long,1/22/20,1/23/20\n"Korea, South",Korea,1,2,0,3\n',
        (1, 2),
        [0, 3],
    ),
}


def _publish(name, data, monkeypatch):
    """Pretend that `data` is the published file of a set."""
    made = dataclasses.replace(DATASETS[name], sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(DATASETS, name, made)
    return made


@pytest.mark.parametrize("name", FILES)
def test_every_text_format_is_read(name, tmp_path, monkeypatch):
    data, shape, first = FILES[name]
    made = _publish(name, data, monkeypatch)
    (tmp_path / made.file).write_bytes(data)
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    panel = load(name)
    assert panel.values.shape == shape and np.allclose(panel.values[0], first)


def test_a_file_with_other_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    with pytest.raises(IsonumError, match="hospital.rda was expected in the folder of ISONUM_DATA"):
        load("hospital")
    (tmp_path / "orig").mkdir()
    (tmp_path / "orig" / "hospital.rda").write_bytes(b"something else")
    with pytest.raises(IsonumError, match="hospital.rda with sha256 d0699e2c1bdc was expected, got"):
        load("hospital")


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    for name, data, words in (
        ("ett_h1", b"date,OT\n2016,\xff\n", "in UTF-8"),
        ("ett_h1", b"date,OT\n2016,1,2\n", "rows of 2 cells were expected, got 3"),
        ("ett_h1", b"date,OT\n2016,NaN\n", "a decimal number was expected, got 'NaN'"),
        ("covid_deaths", FILES["covid_deaths"][0].replace(b"1/22/20", b"2020-01-22"), "the first date 1/22/20"),
        ("exchange_rate", b"\x1f\x8bxx", "got a damaged one"),
    ):
        made = _publish(name, data, monkeypatch)
        (tmp_path / made.file).write_bytes(data)
        with pytest.raises(IsonumError, match=words):
            load(name)


def test_an_unknown_set_is_answered_with_the_known_ones():
    with pytest.raises(IsonumError, match="got 'weather'. These exist: hospital, carparts"):
        load("weather")


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


def test_a_download_is_checked_and_kept(server, tmp_path, monkeypatch, capfd):
    import pooch

    answer, address = server
    monkeypatch.delenv("ISONUM_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    data = FILES["rain"][0]
    made = dataclasses.replace(DATASETS["rain"], url=f"{address}/weather.csv", sha256=hashlib.sha256(data).hexdigest())
    answer.data = None
    with pytest.raises(IsonumError, match="weather.csv could not be had from http://127.0.0.1"):
        original(made)
    answer.data = data + b"C,1,2\n"
    with pytest.raises(IsonumError, match="could not be had from .*hash"):
        original(made)
    answer.data = data
    assert original(made) == data
    answer.data = None
    assert original(made) == data, "the second time it comes from the cache"
    assert capfd.readouterr().err == "", "a note on stderr would stop the build of the book"


def test_without_pooch_the_way_out_is_named(monkeypatch):
    monkeypatch.delenv("ISONUM_DATA", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(IsonumError, match="pooch was expected, to download hospital.rda"):
        original(DATASETS["hospital"])
