from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from isonum_core.commands.reading import as_float64, read_array
from isonum_core.errors import IsonumError

X = np.random.default_rng(0).normal(size=(5, 3)) * 10.0 ** np.arange(-3, 0)


def test_every_format_gives_the_same_numbers(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", only=X)
    save_file({"only": torch.from_numpy(X)}, tmp_path / "x.safetensors")
    (tmp_path / "x.csv").write_text("\n".join(",".join(map(repr, row)) for row in X.tolist()))
    for suffix in ("npy", "npz", "safetensors", "csv"):
        assert torch.equal(read_array(tmp_path / f"x.{suffix}"), torch.from_numpy(X)), suffix


@pytest.mark.parametrize("dtype", ["<f4", ">f8", ">f4", "f2", "i1", "u2", "u8", "i8", "longdouble"])
def test_stored_types_are_read_exactly(tmp_path, dtype):
    x = np.arange(12).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    assert torch.equal(as_float64(read_array(tmp_path / "x.npy"))[0], torch.arange(12.0).reshape(4, 3).double())


def test_order_in_memory_is_not_shape(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    assert torch.equal(read_array(tmp_path / "x.npy"), torch.from_numpy(X))


def test_bfloat16_is_read_and_its_digits_are_noted(tmp_path):
    save_file({"x": torch.ones(2, 2, dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    x, note = as_float64(read_array(tmp_path / "x.safetensors"))
    assert x.dtype == torch.float64 and "8 significant bits" in note


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_needs_no_note(dtype):
    assert as_float64(torch.ones(2, 2, dtype=dtype))[1] is None


def test_whole_numbers_are_converted_and_said():
    x, note = as_float64(torch.tensor([[1, 2**53]]))
    assert x.dtype == torch.float64 and "converted exactly" in note
    with pytest.raises(IsonumError, match=r"expected within \+-2\^53, got 1..9007199254740993"):
        as_float64(torch.tensor([[1, 2**53 + 1]]))


@pytest.mark.parametrize("x", [torch.ones(2, 2, dtype=torch.bool), torch.ones(2, 2, dtype=torch.complex64)])
def test_what_is_not_a_real_number_is_refused(x):
    with pytest.raises(IsonumError, match="states.npy was expected to hold real numbers, got torch"):
        as_float64(x, "states.npy")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,2\n3,4\n", 2),
        ("x,y\n1,2\n3,4", 2),
        ('"a, b",c\n1,2\n', 1),
        ("1e-3, -2.5\r\n3,4\r\n", 2),
        ("\ufeff1,2\n3,4", 2),
        ("h\n1\n2\n3\n", 3),
        ("5\n6\n", 2),
    ],
)
def test_csv_with_and_without_names(tmp_path, text, rows):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    assert len(read_array(tmp_path / "x.csv")) == rows


def test_names_that_look_like_numbers_are_asked_about(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("0,1,2\n5,6,7\n8,9,9\n")
    with pytest.raises(IsonumError, match="0,1,2,...: it may name columns or hold data. Say which with --header"):
        read_array(file)
    assert (len(read_array(file, header="yes")), len(read_array(file, header="no"))) == (2, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty first line"),
        ("a,b\n", "a line of names alone"),
        ("1,2\n3,x\n", "expected to be readable as .csv, got: .*'x'"),
        ("1,2\n3,4,5\n", "got: the number of columns changed from 2 to 3 at row 2"),
        (",a,b\n0,1,2\n", "looks like row numbers. Write the file without them"),
        ("1;2\n3;4\n", "readable as .csv, got: .*'3;4'"),
    ],
)
def test_bad_csv(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(IsonumError, match=words):
        read_array(tmp_path / "x.csv")


def _containers(folder):
    np.savez(folder / "x.npz", a=X, b=2 * X)
    save_file({"a": torch.from_numpy(X), "b": torch.from_numpy(2 * X)}, folder / "x.safetensors")
    return [folder / "x.npz", folder / "x.safetensors"]


@pytest.mark.parametrize("place", [0, 1])
def test_containers_ask_for_a_key(tmp_path, place):
    file = _containers(tmp_path)[place]
    assert torch.equal(read_array(file, "b"), torch.from_numpy(2 * X))
    with pytest.raises(IsonumError, match="holds 2 arrays, got no --key. Choose one of: a, b"):
        read_array(file)
    with pytest.raises(IsonumError, match="got --key 'c'. It holds: a, b"):
        read_array(file, "c")


def test_a_key_where_there_is_none(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(IsonumError, match="one array without a name, got --key 'a'"):
        read_array(tmp_path / "x.npy", "a")


def test_empty_container(tmp_path):
    np.savez(tmp_path / "x.npz")
    with pytest.raises(IsonumError, match="got an empty container"):
        read_array(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00" + bytes(20), b"PK\x03\x04" + bytes(50)])
def test_unreadable_files(tmp_path, suffix, content):
    (tmp_path / f"x.{suffix}").write_bytes(content)
    with pytest.raises(
        IsonumError, match=f"x.{suffix} was expected to be readable as .{suffix}, got: .+ Write it again"
    ):
        read_array(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_objects_are_never_unpickled(tmp_path, suffix):
    (np.save if suffix == "npy" else np.savez)(tmp_path / f"x.{suffix}", np.array([{}], dtype=object))
    with pytest.raises(IsonumError, match="readable as"):
        read_array(tmp_path / f"x.{suffix}")


def test_words_are_not_numbers(tmp_path):
    np.save(tmp_path / "x.npy", np.array([["a"]]))
    with pytest.raises(IsonumError, match="real numbers were expected in x.npy, got dtype <U1"):
        read_array(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.parquet", "format .npy, .npz, .safetensors, .csv was expected, got 'x.parquet'"),
        ("x.npy", "a file was expected at .*x.npy', got nothing"),
        ("folder.csv", "got a folder"),
    ],
)
def test_no_such_file(tmp_path, name, words):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsonumError, match=words):
        read_array(tmp_path / name)
