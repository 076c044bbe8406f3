"""What a checkout says of itself, against repositories made here."""

import re
import subprocess

import torch

from isonum_core.origin import checkout, code_hash, environment


def test_a_clean_tree_is_known_from_a_changed_one(tmp_path):
    def git(*args):
        subprocess.run(["git", "-C", tmp_path, *args], check=True, capture_output=True)

    assert checkout(tmp_path) == (None, None)
    git("init")
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-m", "a")
    commit, dirty = checkout(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", commit) and dirty is False
    (tmp_path / "a").write_text("b")
    assert checkout(tmp_path) == (commit, True)
    assert checkout(tmp_path, "elsewhere") == (commit, False)
    # a folder inside somebody else's repository is not ours
    (tmp_path / "inside").mkdir()
    assert checkout(tmp_path / "inside") == (None, None)


def test_versions_are_those_that_run():
    # a build has a name of its own, such as +cpu, which not every index gives it
    assert environment("cpu")["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert "isonum" in environment("cpu", "isonum")["versions"] and "isonum" not in environment("cpu")["versions"]


def test_a_tree_without_history_may_be_told_its_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    monkeypatch.delenv("ISONUM_COMMIT", raising=False)
    assert (environment("cpu")["commit"], environment("cpu")["dirty"]) == ("unknown", None)
    monkeypatch.setenv("ISONUM_COMMIT", "abc")
    assert (environment("cpu")["commit"], environment("cpu")["dirty"]) == ("abc", None)


def test_the_code_hash_follows_the_package_and_the_files_beside_it(tmp_path):
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("x = 1\n")
    b.write_text("x = 2\n")
    assert len({code_hash(), code_hash(a), code_hash(b), code_hash(a, b)}) == 4 and len(code_hash(a)) == 64
