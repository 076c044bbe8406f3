"""What a checkout says of itself, against repositories made here."""

import re
import subprocess

import torch

from isonum_core.origin import checkout, software


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
    assert software("isonum")["versions"].items() >= {"torch": torch.__version__}.items()
    assert "isonum" in software("isonum")["versions"] and "isonum" not in software()["versions"]
