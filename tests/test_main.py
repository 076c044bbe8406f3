from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from isonum_core.__main__ import main

KEYS = "n d isoscore participation_ratio effective_rank mean_cosine twonn partition_isotropy".split()


def _save(folder, x, name="x.npy"):
    np.save(folder / name, x)
    return str(folder / name)


def _run(capsys, *arguments):
    status = main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


def _cloud(n=80, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) + 0.5


def test_scores_for_machines(capsys, tmp_path):
    status, out, err = _run(capsys, "scores", _save(tmp_path, _cloud()), "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert list(found)[:2] == ["n", "d"] and set(KEYS) <= set(found)
    assert (found["n"], found["d"], found["absent"], found["notes"]) == (80, 5, {}, [])
    assert (found["radius"], found["sinks"], found["without_sinks"], len(found["verdict"])) == (1.0, [], {}, 2)
    assert set(found["null"]) <= set(found) and found["null"]["isoscore"] == pytest.approx(78 / 85, rel=1e-12)


def test_scores_are_the_textbook_formulas(capsys, tmp_path):
    x = _cloud()
    found = json.loads(_run(capsys, "scores", _save(tmp_path, x), "--json")[1])
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T))
    ratio = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    shares = eigenvalues / eigenvalues.sum()
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    twin = dict(
        participation_ratio=ratio,
        isoscore=(ratio - 1) / 4,
        effective_rank=np.exp(-(shares * np.log(shares)).sum()),
        mean_cosine=((units @ units.T).sum() - 80) / (80 * 79),
    )
    for name, value in twin.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name  # two float64 computations of one number


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "csv", "f4.npy"])
def test_the_format_changes_nothing(capsys, tmp_path, suffix):
    x = _cloud().astype(np.float32)
    reference = json.loads(_run(capsys, "scores", _save(tmp_path, x.astype(float)), "--json")[1])
    file = tmp_path / f"y.{suffix}"
    if suffix == "npz":
        np.savez(file, states=x)
    elif suffix == "safetensors":
        save_file({"states": torch.from_numpy(x)}, file)
    elif suffix == "csv":
        np.savetxt(file, x.astype(float), delimiter=",", header="a,b,c,d,e", comments="", fmt="%.17g")
    else:
        np.save(file, x)
    assert json.loads(_run(capsys, "scores", str(file), "--json")[1]) == reference


def test_scores_for_people(capsys, tmp_path):
    file = _save(tmp_path, _cloud(3, 4))
    status, out, _ = _run(capsys, "scores", file)
    lines = out.splitlines()
    assert status == 0 and lines[0] == f"{file}: n = 3 samples, d = 4 dimensions"
    assert lines[2].split() == ["measure", "value", "isotropic", "cloud"]
    assert lines[-2].startswith("Mean half: ") and "Read next: " in lines[-1]
    assert any(line.startswith("isoscore_unbiased") and "needs at least 4 samples, got n=3" in line for line in lines)


def test_absent_measures_are_null_with_a_reason(capsys, tmp_path):
    found = json.loads(_run(capsys, "scores", _save(tmp_path, _cloud(1, 4)), "--json")[1])
    assert set(KEYS) <= set(found) and found["isoscore"] is None and found["n"] == 1
    assert "needs at least 2 samples, got n=1" in found["absent"]["isoscore"]
    assert found["partition_isotropy"] is not None and "isoscore" not in found["null"]


def test_tokens_for_machines(capsys, tmp_path):
    status, out, _ = _run(capsys, "tokens", _save(tmp_path, np.array([1, np.nan, 3, np.nan, 5])), "--json")
    found = json.loads(out)
    assert status == 0
    assert (found["ids"], found["scale"]) == ([2094, 0, 2185, 0, 2276, 1], 3.0)
    assert found["mask"] == [1, 0, 1, 0, 1, 1]
    assert found["decoded"][1] is None and found["decoded"][4] == pytest.approx(5, abs=3 * 30 / 4092 / 2)


def test_tokens_for_people(capsys, tmp_path):
    status, out, _ = _run(capsys, "tokens", _save(tmp_path, np.r_[np.arange(20.0), np.nan]))
    assert status == 0
    assert "21 values, 1 missing, scale 9.5, 20 of 4093 bins in use" in out
    assert out.splitlines()[-1] == "... and 11 more: --json gives all"


def test_tokens_options(capsys, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("value\n" + "\n".join(map(str, range(50))))
    found = json.loads(_run(capsys, "tokens", str(file), "--json", "--n-tokens", "64", "--context-length", "10")[1])
    assert (len(found["ids"]), found["cut"], found["n_tokens"], max(found["ids"]) < 64) == (11, 40, 64, True)


@pytest.mark.parametrize(
    ("command", "x", "words"),
    [
        ("scores", np.arange(5.0), "states of shape (n, d), one sample a row"),
        ("scores", np.ones((2, 2, 2)), "got (2, 2, 2). Padding must not count: --mask FILE is true where a row counts"),
        (
            "scores",
            np.array([[1.0, np.nan], [1, 2]]),
            "1 of 2 rows with NaN or infinity, the first at row 1, from 1. Fill or --mask",
        ),
        ("scores", np.ones((0, 3)), "no rows are left"),
        ("scores", np.ones((3, 0)), "d >= 1, got (3, 0)"),
        ("scores", np.ones((3, 2), dtype=bool), "real numbers were expected in x.npy, got bool"),
        ("scores", np.array([["a"]]), "got str32"),
        ("tokens", np.ones((3, 3)), "one series of shape (T,) was expected"),
        ("tokens", np.array([1.0, np.inf]), "got 1 infinite, the first at step 1"),
        ("tokens", np.array([]), "T >= 1, got (0,)"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(capsys, tmp_path, command, x, words):
    status, out, err = _run(capsys, command, _save(tmp_path, x))
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and words in err and err.count("\n") == 1


def test_whole_numbers_are_measured_and_noted(capsys, tmp_path):
    x = np.random.default_rng(0).integers(0, 9, size=(40, 3))
    whole = json.loads(_run(capsys, "scores", _save(tmp_path, x), "--json")[1])
    real = json.loads(_run(capsys, "scores", _save(tmp_path, x.astype(float)), "--json")[1])
    assert "converted exactly" in whole["notes"][-1]
    assert whole["isoscore"] == real["isoscore"]


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """States of 3 layers, 4 texts of 6 positions, in 5 dimensions; the mask of the texts; and both in files."""
    folder, r = tmp_path_factory.mktemp("layers"), np.random.default_rng(0)
    states, mask = r.normal(size=(3, 4, 6, 5)), np.arange(6) < np.array([6, 3, 2, 5])[:, None]
    states[:, ~mask] = 1e6  # what padding may hold
    np.savez(folder / "masks.npz", texts=mask, whole=np.broadcast_to(mask, (3, 4, 6)).astype(int))
    np.save(folder / "all.npy", states)
    np.save(folder / "one.npy", states[1])
    np.save(folder / "flat.npy", states[1].reshape(-1, 5))
    np.savetxt(folder / "flat.csv", mask.reshape(-1).astype(int), fmt="%d")
    np.savetxt(folder / "nothing.csv", np.zeros(mask.size), fmt="%d")
    return folder, states, mask


def _isoscores(capsys, *arguments):
    status, out, err = _run(capsys, "scores", *map(str, arguments), "--measures", "isoscore", "--json")
    assert status == 0, err
    found = json.loads(out)
    return [(one["n"], one["isoscore"]) for one in found.get("layers", [found])]


def _iso(x):
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T))
    ratio = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    return len(x), pytest.approx((ratio - 1) / (x.shape[1] - 1), rel=1e-9)  # two float64 computations of one number


@pytest.mark.parametrize("key", ["texts", "whole"])
def test_layers_are_measured_one_by_one_or_pooled_without_their_padding(capsys, layers, key):
    folder, states, mask = layers
    with_mask = folder / "all.npy", "--mask", folder / "masks.npz", "--mask-key", key
    assert _isoscores(capsys, *with_mask) == [_iso(layer[mask]) for layer in states]
    assert _isoscores(capsys, *with_mask, "--pool") == [_iso(states[:, mask].reshape(-1, 5))]


def test_texts_and_rows_take_a_mask(capsys, layers):
    folder, states, mask = layers
    expected = [_iso(states[1][mask])]
    assert _isoscores(capsys, folder / "one.npy", "--mask", folder / "masks.npz", "--mask-key", "texts") == expected
    assert _isoscores(capsys, folder / "flat.npy", "--mask", folder / "flat.csv") == expected
    assert _isoscores(capsys, folder / "one.npy", "--mask", "none") == [_iso(states[1].reshape(-1, 5))]


def test_layers_for_people_and_machines(capsys, layers):
    folder, states, mask = layers
    words = ("scores", str(folder / "all.npy"), "--mask", str(folder / "masks.npz"), "--mask-key", "texts")
    found = json.loads(_run(capsys, *words, "--json")[1])["layers"]
    assert [one["layer"] for one in found] == [0, 1, 2] and set(KEYS) <= set(found[0])
    assert "the mask keeps 16 of 24 rows" in found[0]["notes"]
    lines = _run(capsys, *words)[1].splitlines()
    heads = lines[2].split()
    assert heads[:3] == ["layer", "rows", "cosine"] and lines[-2].startswith("No row is longer than")
    rows = [line.split() for line in lines[3:6]]
    assert [row[:2] for row in rows] == [[str(one["layer"]), str(one["n"])] for one in found]
    printed = [float(row[heads.index("IsoScore")]) for row in rows]
    assert printed == pytest.approx([one["isoscore"] for one in found], rel=5e-3)  # three digits


@pytest.mark.parametrize(
    ("file", "mask", "words"),
    [
        ("all.npy", "flat.csv", "a mask of shape (3, 4, 6) or (4, 6), true where a row of"),
        ("flat.npy", "one.npy", "a mask of true and false, or of 1 and 0, was expected in one.npy"),
        ("flat.npy", "nothing.csv", "no rows are left. Expected at least one row to count: check the mask"),
    ],
)
def test_masks_that_do_not_fit(capsys, layers, file, mask, words):
    status, _, err = _run(capsys, "scores", str(layers[0] / file), "--mask", str(layers[0] / mask))
    assert status == 2 and words in err and err.count("\n") == 1


def test_gaps_are_found_where_a_row_counts(capsys, layers, tmp_path):
    """A gap under the mask is no gap; one beside it has its place, counted from 1."""
    folder, states, mask = layers
    for value, status in ((~mask, 0), (mask & (np.arange(6) == 1), 2)):
        np.save(tmp_path / "x.npy", np.where(value[..., None], np.nan, states))
        np.save(tmp_path / "mask.npy", mask)
        code, _, err = _run(capsys, "scores", str(tmp_path / "x.npy"), "--mask", str(tmp_path / "mask.npy"))
        assert code == status
    assert "got 12 of 48 rows with NaN or infinity, the first at row 1, 1, 2, from 1" in err


def test_a_gap_in_a_text_is_named_by_its_line(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n\n3,4\n5,\n")
    assert (
        "got 2 of 4 rows with NaN or infinity, the first at line 3. Fill"
        in _run(capsys, "scores", str(tmp_path / "x.csv"))[2]
    )


def test_measures_and_radius_on_the_command_line(capsys, tmp_path):
    file = _save(tmp_path, _cloud())
    found = json.loads(_run(capsys, "scores", file, "--json", "--measures", "twonn,isoscore", "--without", "twonn")[1])
    assert "isoscore" in found and "twonn" not in found
    found = json.loads(_run(capsys, "scores", file, "--json", "--radius", "2.5")[1])
    assert found["radius"] == 2.5
    assert found["partition_isotropy"] == pytest.approx(np.exp(found["log_partition_isotropy"]), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "ids", "scale"),
    [
        ("v\n1\n2\n\n4\n5\n\n6\n", [2087, 2125, 0, 2201, 2238, 0, 2276, 1], 3.6),
        ('v\n1.0\n2.0\n""\n4.0\n', [2107, 2166, 0, 2283, 1], 7 / 3),
        ("v\n1\nNA\n3\n", [2117, 0, 2254, 1], 2.0),
        ("NA\n1\n2\n3\n", [0, 2117, 2185, 2254, 1], 2.0),
    ],
)
def test_gaps_keep_their_place_among_tokens(capsys, tmp_path, text, ids, scale):
    (tmp_path / "x.csv").write_text(text)
    found = json.loads(_run(capsys, "tokens", str(tmp_path / "x.csv"), "--json")[1])
    assert found["ids"] == ids and found["scale"] == pytest.approx(scale, rel=1e-6)  # float32, as Chronos
    assert [not m for m in found["mask"][:-1]] == [i == 0 for i in ids[:-1]]


@pytest.mark.parametrize("choice", [["--key", "#Passengers"], ["--column", "#Passengers"], ["--column", "2"], []])
def test_a_series_is_chosen_by_name_or_number(capsys, tmp_path, choice):
    (tmp_path / "air.csv").write_text("Month,#Passengers\n1949-01,112\n1949-02,118\n1949-03,132\n")
    np.save(tmp_path / "x.npy", np.array([112.0, 118, 132]))
    expected = json.loads(_run(capsys, "tokens", str(tmp_path / "x.npy"), "--json")[1])["ids"]
    assert json.loads(_run(capsys, "tokens", str(tmp_path / "air.csv"), "--json", *choice)[1])["ids"] == expected


def test_a_column_that_names_nothing_is_not_ignored(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    for choice in ("--key", "--column"):
        status, _, err = _run(capsys, "tokens", str(tmp_path / "x.csv"), choice, "c")
        assert status == 2 and "--column 'c', which fits none of 2. It has: a, b" in err
    assert "with --column alone" in _run(capsys, "tokens", str(tmp_path / "x.csv"), "--key", "a", "--column", "b")[2]


def test_row_numbers_are_no_dimension(capsys, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt(tmp_path / "i.csv", np.c_[np.arange(60), x], delimiter=",", fmt=["%d", *["%.17g"] * 4])
    found = json.loads(_run(capsys, "scores", str(tmp_path / "i.csv"), "--json")[1])
    assert (found["d"], found["isoscore"]) == (4, pytest.approx(0.8718599590507042, rel=1e-12))  # by definition, numpy
    assert "column 1 counts the rows: left out" in found["notes"][0]


def _process(*arguments, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "isonum_core", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, **options)


def test_help_imports_nothing_that_it_does_not_need():
    script = (
        "import sys, types; package = types.ModuleType('isonum_core'); package.__path__ = ['isonum_core']\n"
        "sys.modules['isonum_core'] = package  # what the package itself imports is not the command line's\n"
        "from isonum_core.__main__ import parser; parser().format_help(); print({'torch', 'numpy'} & set(sys.modules))"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("verb", ["scores", "tokens"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path, verb):
    x = np.random.default_rng(0).normal(size=(9, 3) if verb == "scores" else 9)
    line = [sys.executable, "-m", "isonum_core", verb, _save(tmp_path, x), "--json"]
    reading, writing = os.pipe()
    os.close(reading)  # as `| head -0` does
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(line, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_series_from_a_pipe(tmp_path):
    done = _process("tokens", "-", "--json", input="NA\n1\n2\n3\n")
    assert json.loads(done.stdout)["ids"] == [0, 2117, 2185, 2254, 1]


def test_without_a_command_the_help_is_printed(capsys):
    status, out, err = _run(capsys)
    assert (status, err) == (0, "") and "scores" in out and "tokens" in out


def test_a_fresh_process_writes_no_traceback(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"broken")
    done = _process("scores", str(tmp_path / "x.npy"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: x.npy was expected to be readable") and done.stderr.count("\n") == 1
