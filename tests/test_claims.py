"""The table of claims: what it may say, that its evidence exists, and what becomes of it on a page."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from isobook.claims import ROLES, VERDICTS, older, read, role, summary, table
from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
LEDGER = read(BOOK / "claims.toml")
CLAIMS = LEDGER["claim"]
TEXTS = {path: path.read_text(encoding="utf-8") for path in BOOK.glob("*.md")}
# A label: an option of a directive, a target line, or the id of a citable figure.
TARGETS = r"^:(?:label|name): (\S+)", r"^\((\S+)\)=", r'^(?:citable\(|\s*)\S+, "(fig-[\w-]+)"'
HOME = {x: path for path, text in TEXTS.items() for pattern in TARGETS for x in re.findall(pattern, text, re.MULTILINE)}
LABELS = set(HOME)
READS = {path: set(re.findall(r'load_table\("(\w+)"', text)) for path, text in TEXTS.items()}
# Theory chapters quote what another chapter measured on a real head; no figure of theirs rests on it.
READS |= {path: tables - {"checkpoints_head"} for path, tables in READS.items() if path.stem in ("shift", "guarantee")}
WIDE = {"proxy"}  # rests on all relations of two chapters


def named(claim):
    return claim["id"]


def test_there_are_enough_and_each_has_an_address_of_its_own():
    ids = [claim["id"] for claim in CLAIMS]
    assert len(ids) >= 40 and len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in ids)


@pytest.mark.parametrize("claim", CLAIMS, ids=named)
def test_a_claim_says_what_it_is_where_it_stands_and_under_which_conditions(claim):
    assert set(claim) - {"tables"} == {"id", "says", "source", "place", "verdict", "evidence", "conditions"}
    assert claim["says"].endswith(".") and claim["conditions"].endswith(".") and claim["place"]
    assert claim["source"] in LEDGER["sources"]
    assert not any("|" in str(value) for value in claim.values())  # it would end a cell of the table


@pytest.mark.parametrize("claim", CLAIMS, ids=named)
def test_no_verdict_without_evidence_and_no_evidence_that_is_not_there(claim):
    assert claim["verdict"] in VERDICTS
    assert claim["evidence"] or claim["verdict"].startswith("not test")
    assert not set(claim["evidence"]) - LABELS


@pytest.mark.parametrize("claim", CLAIMS, ids=named)
def test_proved_needs_a_theorem(claim):
    if claim["verdict"] == "proved":
        assert any(label.split("-")[0] in {"thm", "prop", "lem", "cor"} for label in claim["evidence"])


@pytest.mark.parametrize("claim", CLAIMS, ids=named)
def test_a_verdict_of_an_experiment_names_its_tables_and_its_figures(claim):
    """Without the table a row would not be flagged when it is old; a chapter alone does not show where to look."""
    for name in claim.get("tables", ()):
        assert list((BOOK / "results").glob(f"{name}.*.json"))
    if claim["verdict"].startswith("not test"):
        return
    assert claim["id"] in WIDE or any(not label.startswith("ch-") for label in claim["evidence"])
    for label in claim["evidence"]:
        tables = READS[HOME[label]] if label.startswith(("fig-", "ch-")) else None
        assert not tables or tables & set(claim.get("tables", ())), label


def test_every_source_is_used_and_can_be_opened():
    assert set(LEDGER["sources"]) == {claim["source"] for claim in CLAIMS}
    assert all(source["url"].startswith("https://") for source in LEDGER["sources"].values())


def test_the_papers_versions_are_told_apart_and_both_admitted_limits_are_there():
    assert {"numbers", "numbers-v4", "numbers-iclr", "numbers-tmlr", "istar"} <= set(LEDGER["sources"])
    assert sum("admitted limits" in claim["place"] for claim in CLAIMS) == 2


def test_rows_of_an_older_commit_are_flagged_until_the_table_is_made_again(tmp_path):
    claim = dict(tables=["data"])
    made = tmp_path / "data.cpu.json"
    made.write_text(json.dumps(dict(runs=[dict(commit="new"), dict(commit="old")])))
    assert older(claim, ["old"], tmp_path)
    made.write_text(json.dumps(dict(runs=[dict(commit="new")])))
    assert not older(claim, ["old"], tmp_path)
    assert not older({}, ["old"], tmp_path)


def test_the_summary_counts_every_claim_once():
    line = summary(CLAIMS)
    total, *parts = map(int, re.findall(r"\d+", line))
    assert total == len(CLAIMS) == sum(parts)
    assert (
        summary([dict(verdict="mixed"), dict(verdict="proved")])
        == "Of 2 claims, these are the verdicts: 1 proved, 1 mixed."
    )


def test_a_reference_has_the_role_of_what_it_points_at():
    assert role("thm-x") == "{prf:ref}`thm-x`" and role("fig-x") == "{numref}`fig-x`" and role("ch-x") == "{ref}`ch-x`"
    assert set(ROLES.values()) == {"prf:ref", "numref"}


def test_the_table_has_a_line_for_each_claim():
    lines = table(LEDGER, BOOK / "results").splitlines()
    assert len(lines) == 2 + len(CLAIMS)
    assert all(line.count("|") == 5 for line in lines)


def test_a_page_has_a_row_for_each_with_its_address_its_verdict_and_its_script(tmp_path):
    (tmp_path / "conf.py").write_text('extensions = ["myst_nb", "isobook.claims"]\nnb_execution_mode = "off"\n')
    twice = "```{claims} c.toml\n:summary:\n```\n\n```{claims} c.toml\n```\n"
    (tmp_path / "index.md").write_text(f"(ch-a)=\n# A\n\n{twice}\n{{ref}}`one <claim-one>`\n")
    (tmp_path / "b.md").write_text("---\norphan: true\n---\n# B\n\nNo table here. {ref}`one <claim-one>`\n")
    (tmp_path / "c.toml").write_text(
        "[rows]\nolder = []\n[sources]\np = { name = 'Paper v2', url = 'https://example.org/p' }\n"
        "[[claim]]\nid = 'one'\nsays = 'It is.'\nsource = 'p'\nplace = 'abstract'\nverdict = 'not tested yet'\n"
        "evidence = ['ch-a']\nconditions = 'If so.'\n"
    )
    out = tmp_path / "out"
    assert sphinx(["-q", "-W", "-n", "-b", "html", str(tmp_path), str(out)]) == 0
    page, other = ((out / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "b"))
    assert "Of 1 claims, these are the verdicts: 1 not tested yet." in page
    assert re.search(r'<tr class="[^"]*not-tested-yet[^"]*" id="claim-one">', page)
    assert re.search(r'<table class="[^"]*claims', page) and 'href="https://example.org/p"' in page
    assert 'href="#claim-one"' in page and 'href="index.html#claim-one"' in other
    assert "claims.js" in page and "claims.css" in page and "claims.js" not in other


def test_findings_that_the_chapter_counts_have_their_address():
    """The table of the audit links each finding to the place where it is told."""
    text = TEXTS[BOOK / "published-code.md"]
    told = set(re.findall(r'^found\("([\w-]+)"', text, re.MULTILINE))
    assert len(told) >= 16 and {f"finding-{name}" for name in told} == {x for x in LABELS if x.startswith("finding-")}


def test_one_edition_number_everywhere():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert f'\nversion = "{cited}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(cited)} \(", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_a_release_keeps_two_files_that_carry_the_edition():
    """What `make archive` would do, asked and not done; the tag must name the edition as well."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    told = subprocess.run(["make", "-n", "archive"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"-o _build/isonum-{cited}-source.zip HEAD" in told and f"-c isonum-{cited}-site.zip isonum-{cited}" in told
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]["archive"][
        "steps"
    ]
    commands = " ".join(step.get("run", "") for step in steps)
    assert "GITHUB_REF_NAME" in commands and "make archive" in commands and "CHANGELOG.md" in commands


def test_every_badge_is_in_the_legend():
    text = TEXTS[BOOK / "errata.md"]
    assert all(f"**{verdict}**" in text for verdict in VERDICTS)
    severities = re.search(r"SEVERITIES = \[\], \((.*)\)", TEXTS[BOOK / "published-code.md"])[1]
    assert all(f"*{severity}*" in text for severity in re.findall(r'"([^"]+)"', severities))
    flagged = table(dict(LEDGER, rows=dict(older=[_first_commit("families")])), BOOK / "results")
    assert "*(rows older than the code)*" in flagged and "*rows older than the code*" in text


def _first_commit(name):
    return json.loads((BOOK / "results" / f"{name}.cpu.json").read_text(encoding="utf-8"))["runs"][0]["commit"]


def test_the_first_page_shows_the_summary():
    assert "```{claims} claims.toml\n:summary:\n```" in TEXTS[BOOK / "index.md"]


def test_what_the_second_reading_changed_is_what_the_table_says():
    """The page lists the verdicts that changed when each was disputed, with the one that stands."""
    text, verdicts = TEXTS[BOOK / "claims.md"], {claim["id"]: claim["verdict"] for claim in CLAIMS}
    changed = re.findall(
        r"^\* \{ref\}`[^<]+<claim-([\w-]+)>`: was \*([^*]+)\*, is \*\*([^*]+)\*\*\.", text, re.MULTILINE
    )
    assert len(changed) == text.count("{ref}`") - text.count("{ref}`ch-") > 0
    for name, before, after in changed:
        assert after == verdicts[name] != before and {before, after} <= set(VERDICTS)


def test_the_table_can_be_sorted_searched_and_narrowed_with_nothing_from_elsewhere(browser):
    head, _, *body = (line.strip("| ").split(" | ") for line in table(LEDGER, BOOK / "results").splitlines())
    rows = "".join(
        f'<tr id="claim-{claim["id"]}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        for claim, cells in zip(CLAIMS, body, strict=True)
    )
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    visible = "[...document.querySelectorAll('tbody tr')].filter(row => !row.hidden).map(row => row.id)"
    asked = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(f'<table class="claims"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>')
    page.add_script_tag(content=(BOOK / "_static" / "claims.js").read_text(encoding="utf-8"))
    page.select_option("select", "proved")
    proved = [f"claim-{claim['id']}" for claim in CLAIMS if claim["verdict"] == "proved"]
    assert page.evaluate(visible) == proved
    page.evaluate("location.hash = 'claim-hallucination'")  # an address that is linked to is shown, narrowed or not
    page.wait_for_function("!document.getElementById('claim-hallucination').hidden")
    page.fill("input", "pythia isotropic")
    assert "claim-not-inherent" in page.evaluate(visible) and len(page.evaluate(visible)) < 5
    page.fill("input", "")
    page.click("thead th:nth-child(1) button")
    order = page.evaluate("[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].textContent)")
    assert order == sorted(order) and len(order) == len(CLAIMS)
    page.click("thead th:nth-child(1) button")
    assert page.evaluate("document.querySelector('tbody tr').cells[0].textContent") == max(order)
    page.close()
    assert not [address for address in asked if not address.startswith(("data:", "about:"))]
