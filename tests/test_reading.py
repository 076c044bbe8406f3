from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from scipy import sparse

from isonum_core.commands.reading import FORMATS, read_mask, read_numbers
from isonum_core.errors import IsonumError

X = np.random.default_rng(0).normal(size=(5, 3)) * 10.0 ** np.arange(-3, 0)
WHOLE = "whole numbers, converted exactly"


def _values(path, *options, **words):
    return read_numbers(path, *options, **words)[0]


def _write(folder, suffix, x=X):
    """A file of x in each format, as its users write it."""
    file = folder / f"x{suffix}"
    if suffix == ".npy":
        np.save(file, x)
    elif suffix == ".npz":
        np.savez(file, only=x)
    elif suffix == ".safetensors":
        save_file({"only": torch.from_numpy(x)}, file)
    elif suffix in (".pt", ".pth"):
        torch.save(torch.from_numpy(x), file)
    elif suffix == ".parquet":
        pd.DataFrame(x, columns=["a", "b", "c"]).to_parquet(file)
    elif suffix == ".vec":
        rows = [f"w{i} " + " ".join(map(repr, row)) for i, row in enumerate(x.tolist())]
        file.write_text("\n".join([f"{len(x)} {x.shape[1]}", *rows]) + "\n")
    else:
        separator = {".csv": ",", ".tsv": "\t", ".txt": " "}[suffix]
        file.write_text("\n".join(separator.join(map(repr, row)) for row in x.tolist()))
    return file


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_numbers(tmp_path, suffix):
    assert np.array_equal(_values(_write(tmp_path, suffix)), X)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", ">f4", "f2", "i1", "u2", ">u2", "u8", "i8", "longdouble"])
def test_stored_types_are_read_exactly(tmp_path, dtype):
    found = read_numbers(_write(tmp_path, ".npy", np.arange(12).reshape(4, 3).astype(dtype)))
    assert np.array_equal(found[0], np.arange(12.0).reshape(4, 3)) and found[0].dtype == np.float64
    assert any(WHOLE in note for note in found[1]) == (np.dtype(dtype).kind in "iu")


@pytest.mark.parametrize("dtype", "uint8 uint16 uint32 uint64 int8 int16 int32 int64".split())
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_whole_numbers_of_every_width_are_the_scores_of_the_npy(tmp_path, dtype, suffix):
    """Unsigned types have no operations in torch: they are not to be computed with before they are converted."""
    x = torch.arange(12).reshape(4, 3).to(getattr(torch, dtype))
    torch.save(x, tmp_path / "u.pt")
    save_file({"x": x}, tmp_path / "u.safetensors")
    found = read_numbers(tmp_path / f"u{suffix}")
    assert np.array_equal(found[0], np.arange(12.0).reshape(4, 3)) and WHOLE in found[1][0]


@pytest.mark.parametrize("x", [2**53 + 1, -(2**53) - 1, np.uint64(2**64 - 1)])
def test_whole_numbers_beyond_float64_are_refused(tmp_path, x):
    np.save(tmp_path / "x.npy", np.array([[x]]))
    with pytest.raises(IsonumError, match=r"within \+-2\^53 were expected in x.npy"):
        read_numbers(tmp_path / "x.npy")
    save_file({"x": torch.from_numpy(np.array([[x]]))}, tmp_path / "x.safetensors")
    with pytest.raises(IsonumError, match=r"within \+-2\^53"):
        read_numbers(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [("float16", 11), ("bfloat16", 8), ("float8_e4m3fn", 4), ("float8_e5m2", 3), ("float8_e5m2fnuz", 3)],
)
def test_few_digits_are_read_exactly_and_noted(tmp_path, dtype, bits):
    x = torch.tensor([[0.5, 1.0], [1.5, -2.0]])  # values that each of these types has
    save_file({"x": x.to(getattr(torch, dtype))}, tmp_path / "x.safetensors")
    found = read_numbers(tmp_path / "x.safetensors")
    assert np.array_equal(found[0], x.double().numpy()) and f"{bits} significant bits" in found[1][0]


def test_a_type_that_no_library_reads_is_named(tmp_path):
    save_file({"x": torch.zeros(2, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, tmp_path / "x.safetensors")
    with pytest.raises(IsonumError, match="readable as .safetensors, got: .*Float4_e2m1fn_x2"):
        read_numbers(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (np.ones((2, 2), dtype=bool), "bool"),
        (np.ones((2, 2), dtype=complex), "complex128"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "datetime64"),
        (np.array([1], dtype="m8[s]"), "timedelta64"),
        (np.array([["a"]]), "str32"),
    ],
)
def test_what_is_not_a_real_number_is_refused(tmp_path, x, kind):
    with pytest.raises(IsonumError, match=f"real numbers were expected in x.npy, got {kind}"):
        read_numbers(_write(tmp_path, ".npy", x))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_objects_are_never_unpickled_nor_is_it_advised(tmp_path, suffix):
    (np.save if suffix == "npy" else np.savez)(tmp_path / f"x.{suffix}", np.array([{}], dtype=object))
    with pytest.raises(IsonumError, match="got: Python objects, which are not loaded, .*Save the numbers") as caught:
        read_numbers(tmp_path / f"x.{suffix}")
    assert "allow_pickle" not in str(caught.value)


class _Mine:
    pass


def test_objects_in_a_pt_are_never_loaded_nor_is_it_advised(tmp_path):
    torch.save({"a": _Mine()}, tmp_path / "x.pt")
    with pytest.raises(IsonumError, match="readable as .pt, got: Python objects, which are not loaded") as caught:
        read_numbers(tmp_path / "x.pt")
    assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_pt_is_not_read_as_other_numbers(tmp_path):
    """torch.load takes a byte that was changed on the way for a number, although the archive holds its checksum."""
    content = _write(tmp_path, ".pt").read_bytes()
    assert content.count(raw := X.tobytes()) == 1
    (tmp_path / "x.pt").write_bytes(content.replace(raw, b"\1" + raw[1:]))
    assert not np.array_equal(torch.load(tmp_path / "x.pt", weights_only=True).numpy(), X)
    with pytest.raises(IsonumError, match="x.pt is damaged: the checksum of '.*data/0' is wrong. Copy it again"):
        read_numbers(tmp_path / "x.pt")


def test_tensors_within_tensors_have_dotted_names(tmp_path):
    torch.save({"model": {"w": torch.ones(2, 2)}, "steps": [torch.zeros(3), 7]}, tmp_path / "x.pt")
    assert _values(tmp_path / "x.pt", "model.w").shape == (2, 2)
    with pytest.raises(IsonumError, match="It holds 2: model.w, steps.0"):
        read_numbers(tmp_path / "x.pt")


def test_what_a_masked_array_leaves_behind_is_noted(tmp_path):
    """numpy saves the data of a masked array without its mask: netCDF's fill values would pass for numbers."""
    np.save(tmp_path / "x.npy", np.array([1.0, 9.969209968386869e36, 3.0], dtype=np.float32))
    assert "1 values are 9.97e36" in read_numbers(tmp_path / "x.npy")[1][0]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_containers_ask_for_a_key(tmp_path, suffix):
    np.savez(tmp_path / "x.npz", a=X, b=2 * X)
    save_file({"a": torch.from_numpy(X), "b": torch.from_numpy(2 * X)}, tmp_path / "x.safetensors")
    file = tmp_path / f"x{suffix}"
    assert np.array_equal(_values(file, "b"), 2 * X)
    with pytest.raises(IsonumError, match="got no --key. It holds 2: a, b"):
        read_numbers(file)
    with pytest.raises(IsonumError, match="got --key 'c'. It holds 2: a, b"):
        read_numbers(file, "c")


def test_a_long_list_of_keys_ends_with_the_last(tmp_path):
    np.savez(tmp_path / "x.npz", **{f"layer{i:02}": X for i in range(60)})
    with pytest.raises(IsonumError, match=r"layer00, .*layer09, \.\.\. \(45 more\) \.\.\., layer55, .*layer59\."):
        read_numbers(tmp_path / "x.npz")


def test_a_key_where_there_is_none(tmp_path):
    with pytest.raises(IsonumError, match="got --key 'a'. It holds 1: one without a name"):
        read_numbers(_write(tmp_path, ".npy"), "a")


def test_a_sparse_matrix_of_scipy_is_called_one(tmp_path):
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_matrix(X))
    with pytest.raises(IsonumError, match="a sparse matrix of scipy. Save its .toarray()"):
        read_numbers(tmp_path / "x.npz")


def test_a_single_number_keeps_its_shape(tmp_path):
    assert _values(_write(tmp_path, ".npy", np.float64(3))).shape == ()


def test_empty_containers(tmp_path):
    np.savez(tmp_path / "x.npz")
    torch.save({}, tmp_path / "x.pt")
    for suffix in ("npz", "pt"):
        with pytest.raises(IsonumError, match="It holds 0: none"):
            read_numbers(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_column_by_number_from_every_format(tmp_path, suffix):
    file = _write(tmp_path, suffix)
    assert np.array_equal(_values(file, columns=["3", "1"]), X[:, [2, 0]])
    with pytest.raises(IsonumError, match="--column '4'"):
        read_numbers(file, columns=["4"])


def test_fields_of_a_structured_array_are_columns(tmp_path):
    x = np.array([(1.0, 5, "a"), (2.5, 6, "b"), (3.0, 9, "c")], dtype=[("u", "f8"), ("v", "i4"), ("w", "U1")])
    found = read_numbers(_write(tmp_path, ".npy", x))
    assert found[0].tolist() == [[1, 5], [2.5, 6], [3, 9]] and "'w') holds words" in found[1][0]
    assert _values(tmp_path / "x.npy", columns=["v"]).tolist() == [[5], [6], [9]]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00" + bytes(20), b"PK\x03\x04" + bytes(50)])
def test_unreadable_files(tmp_path, suffix, content):
    (tmp_path / f"x{suffix}").write_bytes(content)
    with pytest.raises(IsonumError, match="expected (in|to be readable as|in line .* of) ?.*, got") as caught:
        read_numbers(tmp_path / f"x{suffix}")
    assert "\n" not in str(caught.value) and ".." not in str(caught.value) and f"x{suffix}" in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_pointer_of_git_lfs_is_called_one(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(IsonumError, match="a Git LFS pointer, three lines of text: fetch the file with git lfs pull"):
        read_numbers(tmp_path / f"x{suffix}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file.xlsx", "format .npy, .npz, .safetensors, .pt, .pth, .parquet, .csv, .tsv, .txt, .vec was expected"),
        ("x.npy", r"a file was expected at .*x.npy, got nothing there. Check its name and folder\.$"),
        ("x.xyz", "a file was expected at .*x.xyz, got nothing there"),
        ("file.xlsx/x.npy", "a file was expected at .*x.npy, got nothing there"),
        ("folder.csv", "a file was expected at .*folder.csv, got a folder. Name a file in it"),
    ],
)
def test_no_such_file(tmp_path, name, words):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file.xlsx").write_bytes(b"PK")
    with pytest.raises(IsonumError, match=words):
        read_numbers(tmp_path / name)


def test_without_pyarrow_a_sentence_names_it(tmp_path, monkeypatch):
    file = _write(tmp_path, ".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(IsonumError, match="x.parquet was expected .*install the pyarrow package"):
        read_numbers(file)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_masks_are_true_and_false_or_one_and_zero(tmp_path, dtype):
    mask = np.array([[1, 1, 0], [1, 0, 0]]).astype(dtype)
    assert np.array_equal(read_mask(_write(tmp_path, ".npy", mask)), mask.astype(bool))


def test_a_mask_that_is_added_to_scores_is_none(tmp_path):
    with pytest.raises(IsonumError, match="save mask == 0"):
        read_mask(_write(tmp_path, ".npy", np.array([0.0, -1e9])))
