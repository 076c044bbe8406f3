"""Command-line verbs of the lab: studies, run, verify. Exit status 1 when something failed, 130 when interrupted."""

from __future__ import annotations

import argparse
import json
import math
import secrets
from collections import Counter, defaultdict
from pathlib import Path

from isonum_core.lab.study import PROFILES, RESULTS, find_study, record, study_titles, table_path


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add the verbs. Each sets `function`: from the parsed words to the text to print; SystemExit when it failed."""
    studies = subparsers.add_parser("studies", help="list the studies and their tables")
    studies.add_argument("--json", action="store_true", help="for programs: also columns, tolerances and grids")
    studies.set_defaults(function=_studies)

    run = subparsers.add_parser("run", help="compute what a study's table lacks; after a kill, go on from there")
    run.add_argument("study", help="a name that `studies` lists, or an importable module with a dot in its name")
    run.add_argument("--profile", choices=PROFILES, default="quick")
    run.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    run.add_argument("--workers", type=int, default=1, help="processes of one thread each (default: 1, this one)")
    run.add_argument("--minutes", type=float, default=math.inf, metavar="M", help="begin nothing after M minutes")
    run.set_defaults(function=_run)

    verify = subparsers.add_parser("verify", help="recompute random committed configurations and compare")
    verify.add_argument("studies", nargs="*", help="whose tables (default: all)")
    verify.add_argument("--sample", type=int, metavar="K", help="how many (default: 10, or all that fit in --minutes)")
    verify.add_argument("--minutes", type=float, metavar="M", help="begin no further one after M minutes")
    verify.add_argument("--seed", type=int, help="of the sample; printed when it is drawn")
    verify.add_argument("--profiles", nargs="+", choices=PROFILES, default=PROFILES, help="default: all")
    verify.add_argument("--csv", type=Path, metavar="FILE", help="also write what came of each, with its distances")
    verify.set_defaults(function=_verify)

    for parser in (studies, run, verify):
        parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="folder of the tables")


def _studies(words: argparse.Namespace) -> str:
    lines, listed = [], []
    for name, title in study_titles().items():
        lines.append(f"{name}: {title}")
        made = {profile: record(table_path(name, profile, words.out)) for profile in PROFILES}
        for profile, there in made.items():
            state = f"{there['configurations']} of {there['expected']} configurations" if there else "no table"
            lines.append(f"  {profile:<5}  {state}")
        if words.json:  # whoever reads the list alone need not wait for the studies themselves
            study = find_study(name)
            profiles = {
                p: dict(configurations=len(study.configs(p)), done=x.get("configurations", 0), device=x.get("device"))
                for p, x in made.items()
            }
            facts = {"columns": study.columns, "tolerances": study.tolerances, "profiles": profiles}
            listed.append({"name": name, "title": title, **facts})
    return json.dumps(listed, indent=2, ensure_ascii=False) if words.json else "\n".join(lines)


def _run(words: argparse.Namespace) -> str:
    from isonum_core.lab.engine import run_study  # torch, which the other words need not wait for

    try:
        outcome = run_study(words.study, words.profile, words.device, words.workers, words.out, words.minutes)
    except KeyboardInterrupt:
        return _end(["Interrupted. What finished is in the table; the same command goes on from there."], 130)
    lines = [f"{outcome.path}: {outcome.done} of {outcome.expected} configurations."]
    if outcome.done < outcome.expected and not outcome.failures:
        lines.append("The time is up; the same command goes on from there.")
    if len({run["code"] for run in record(outcome.path).get("runs", [])}) > 1:
        lines.append("Its rows come from more than one state of the code: `verify` says whether they still hold.")
    alike = defaultdict(list)
    for config, sentence in outcome.failures:
        alike[sentence].append(config)
    for sentence, configs in alike.items():
        more = f" and {len(configs) - 1} more" if len(configs) > 1 else ""
        lines.append(f"{f'Failed: {configs[0]}{more}. ' if configs[0] else ''}{sentence}")
    return _end(lines, int(bool(outcome.failures)))


def _verify(words: argparse.Namespace) -> str:
    import numpy as np

    from isonum_core.lab.verify import verify_tables

    seed = secrets.randbits(32) if words.seed is None else words.seed
    timed = words.minutes is not None
    sample, minutes = words.sample or (None if timed else 10), words.minutes if timed else math.inf
    checks = verify_tables(
        sample, np.random.default_rng(seed), words.out, tuple(words.profiles), minutes, words.studies
    )
    if not checks:
        return f"There are no tables in {words.out}, so there is nothing to verify."
    lines = [f"Recomputed on the CPU, --seed {seed}. Share: largest difference over what is allowed."]
    for check in checks:
        config = " ".join(f"{name}={value}" for name, value in vars(check.config).items()) if check.config else ""
        lines.append(f"{check}  {config}")
    if words.csv:
        import pandas as pd

        facts = (
            {"table": c.table, "config": c.config, "verdict": c.verdict, "share": c.share, "far": c.far} for c in checks
        )
        pd.DataFrame(facts).to_csv(words.csv, index=False)
    count = Counter(check.verdict for check in checks)
    absent, excused, again = count["NOT COMPARED"], count["DIFFERS, provisional"], count["another draw"]
    lines.append(f"{count['holds']} of {len(checks)} hold.")
    lines[-1] += f" {absent} not compared, for want of data." if absent else ""
    lines[-1] += f" {again} came out as another seed might: training carried a rounding on." if again else ""
    lines[-1] += f" {excused} differ among rows that are known to depend on the processor." if excused else ""
    return _end(lines, int("DIFFERS" in count))


def _end(lines: list[str], status: int) -> str:
    text = "\n".join(lines)
    if status:
        print(text)
        raise SystemExit(status)
    return text
