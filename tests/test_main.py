from __future__ import annotations

import json
import os
import subprocess
import sys

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
        ("scores", np.ones((2, 2, 2)), "got (2, 2, 2). Reshape"),
        ("scores", np.array([[1.0, np.nan], [1, 2]]), "1 of 2 rows with NaN or infinity, the first at row 0"),
        ("scores", np.ones((0, 3)), "no rows are left"),
        ("scores", np.ones((3, 0)), "d >= 1, got (3, 0)"),
        ("scores", np.ones((3, 2), dtype=bool), "expected to hold real numbers, got torch.bool"),
        ("scores", np.array([["a"]]), "got dtype <U1"),
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


def test_without_a_command_the_help_is_printed(capsys):
    status, out, err = _run(capsys)
    assert (status, err) == (0, "") and "scores" in out and "tokens" in out


def test_a_fresh_process_writes_no_traceback(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"broken")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "isonum_core", "scores", str(tmp_path / "x.npy")]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: x.npy was expected to be readable") and done.stderr.count("\n") == 1
