"""Files that were mauled on their way: every reader gives the exact numbers or one sentence, and never hangs.

Two thousand of each format in a test run; ISONUM_FUZZ=50000 tries that many.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save

from isonum_core.commands.columns import GAPS
from isonum_core.commands.reading import FORMATS, read_numbers
from isonum_core.errors import IsonumError

TRIES = int(os.environ.get("ISONUM_FUZZ", "2000"))
X = np.random.default_rng(0).normal(size=(6, 3)).round(3)
SPLINTERS = [
    *b",;|\t\n\r\"' #-.e+_",
    *[0, 255, 128],
    *(b"NA", b"1e5", b",,", b"\r\n", b"inf", b"x", b"1,5", b"1.234,5", b"0,1,2\n", b"\xc3\xa9", b"2020-01-01", b"007"),
    *(
        b"True",
        b"#DIV/0!",
        b"  ",
        b'""',
        b"1_0",
        b"\xef\xbb\xbf",
        b"a;b\n",
        b"sep=;\n",
        b"# 1 2 3\n",
        b"\n\n",
        b"9" * 20,
    ),
]


def _saved(write, *arguments):
    file = io.BytesIO()
    write(file, *arguments)
    return file.getvalue()


def _text(separator, decimal=".", index=False, header=True, quoting=0):
    frame = pd.DataFrame(X, columns=list("abc"))
    return frame.to_csv(sep=separator, decimal=decimal, index=index, header=header, quoting=quoting).encode()


_vectors = "".join(f"w{i} {' '.join(map(repr, row))}\n" for i, row in enumerate(X.tolist())).encode()
SEEDS = {
    ".npy": [_saved(np.save, X), _saved(np.save, X.astype("f2")), _saved(np.save, (9 * X).astype("u1"))],
    ".npz": [_saved(lambda file: np.savez(file, X)), _saved(lambda file: np.savez_compressed(file, X))],
    ".safetensors": [save({"x": torch.tensor(X).to(kind)}) for kind in (torch.float64, torch.bfloat16, torch.uint16)],
    ".pt": [
        _saved(lambda file: torch.save(torch.tensor(X), file)),
        _saved(lambda f: torch.save({"a": torch.ones(3)}, f)),
    ],
    ".parquet": [_saved(lambda file: pd.DataFrame(X, columns=list("abc")).assign(w="word").to_parquet(file))],
    ".csv": [
        _text(","),
        _text(",", index=True),
        _text(",", header=False),
        _text(";", ","),
        _text(",", quoting=1),
        b"v\n1\n\n3",
    ],
    ".tsv": [_text("\t"), _text("\t", ",", True)],
    ".txt": [_text(" "), _text(" ", header=False), _vectors],
    ".vec": [b"6 3\n" + _vectors],
}
SEEDS[".csv"].append(b"v\n1.5\n\n3\n")


def _mauled(content, rng):
    """The bytes after one or two accidents: a byte changed, splinters put in, parts lost, doubled or swapped."""
    for _ in range(rng.integers(1, 3)):
        i, j = sorted(rng.integers(0, len(content) + 1, size=2))
        splinter = SPLINTERS[rng.integers(len(SPLINTERS))]
        splinter = bytes([splinter]) if isinstance(splinter, int) else splinter
        match rng.integers(6):
            case 0:
                content = content[:i] + bytes([rng.integers(256)]) + content[i + 1 :]
            case 1:
                content = content[:i] + splinter + content[i:]
            case 2:
                content = content[:i] + splinter + content[i + len(splinter) :]
            case 3:
                content = content[:i] + content[min(j, i + 8) :]
            case 4:
                content = content[: max(i, 1)]
            case 5:
                content = content[:j] + content[i : i + 40] + content[j:]
    return content


def _read_by_hand(suffix, content):
    """What each format says by a second reader; for texts all that its cells may mean, None where there is no twin."""
    if suffix in (".npy", ".npz"):
        found = np.load(io.BytesIO(content))
        return found if isinstance(found, np.ndarray) else found[found.files[0]]
    if suffix == ".safetensors":
        size = int.from_bytes(content[:8], "little")
        (about,) = (v for k, v in json.loads(content[8 : 8 + size]).items() if k != "__metadata__")
        raw = content[8 + size :][slice(*about["data_offsets"])]
        if about["dtype"] == "BF16":
            return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(about["shape"])
        kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?"}
        kind = kinds.get(about["dtype"]) or f"<{about['dtype'][0].lower()}{int(about['dtype'][1:]) // 8}"
        return np.frombuffer(raw, kind).reshape(about["shape"]) if about["dtype"][:2] != "F8" else None
    if suffix == ".pt":
        found = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        return (found if isinstance(found, torch.Tensor) else next(iter(found.values()))).to_dense().double().numpy()
    table = pyarrow.parquet.read_table(io.BytesIO(content)).to_pydict()
    kept = [c for c in table.values() if any(c) and all(v is None or isinstance(v, float | int) for v in c)]
    return np.array([[np.nan if v is None else v for v in column] for column in kept], dtype=float).T


def _value(cell):
    """A cell as a number under each decimal mark, as NaN where it is a gap, as None where it is neither."""
    cell = cell.strip().strip("\ufeff")
    if cell in GAPS:
        return {"gap"}
    found = set()
    for text in (cell, cell.replace(",", ".")):
        if "_" not in text:
            try:
                found.add(float(text))
            except ValueError:
                pass
    return found


def _may_say(content, found, notes):
    """Whether the cells of a text, split in some way, are the numbers found, each in its row and in order."""
    text = content.decode("utf-16") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else None
    try:
        text = text or content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = re.sub(r"\r+\n|\r", "\n", text).rstrip("\n ")
    lines = text.split("\n")
    lost = sum("left out" in note for note in notes)
    for separator in ",;\t| ":
        for row_of in (
            lambda line, s=separator: next(csv.reader([line], delimiter=s, skipinitialspace=True), []),
            None,  # as one, for quoted fields with line ends
            lambda line: line.split(),
            lambda line: line.rsplit(" ", found.shape[1]),
        ):
            whole = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
            rows = [row_of(line) for line in lines] if row_of else list(whole)
            rows = rows[len(rows) - len(found) :]
            width = max(map(len, rows))
            if width > found.shape[1] + max(lost, 1) and not any("without numbers" in note for note in notes):
                continue
            if all(_in_order(row, numbers) for row, numbers in zip(rows, found.tolist(), strict=True)):
                return True
    return False


def _in_order(row, numbers):
    if not any(cell.strip() for cell in row):
        return all(np.isnan(numbers))
    cells = iter(row)
    return all(any(("gap" if n != n else n) in _value(cell) for cell in cells) for n in numbers)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("suffix", SEEDS)
def test_a_mauled_file_gives_its_numbers_or_a_sentence(tmp_path, suffix):
    rng = np.random.default_rng(sum(suffix.encode()))
    file, read = tmp_path / f"x{suffix}", 0
    for _ in range(TRIES):
        content = _mauled(SEEDS[suffix][rng.integers(len(SEEDS[suffix]))], rng)
        file.write_bytes(content)
        begin = time.process_time()
        try:
            found = read_numbers(file)
        except IsonumError as error:
            said = str(error)
            assert said.endswith((".", "?")) and "\n" not in said and not re.search(r"[a-z]\.\.( |$)", said), content
            assert "pickle=" not in said and "weights_only" not in said, content
            continue
        finally:
            assert time.process_time() - begin < 5, content  # a thousand times what it takes
        read += 1
        assert found.values.dtype == np.float64, content
        if file.suffix in (".csv", ".tsv", ".txt", ".vec"):
            assert _may_say(content, found.values, found.notes), (content, found)
        elif (twin := _read_by_hand(suffix, content)) is not None:
            assert np.array_equal(found.values, twin.astype(float), equal_nan=True), (content, found)
    assert set(FORMATS) - set(SEEDS) == {".pth"}  # another name for .pt
    assert read >= TRIES / 100  # the accidents are not all fatal: exact values were compared, too
