"""The verb `advise` on planted answers, and on what it cannot answer."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from isonum_core.__main__ import main
from isonum_core.commands.advice import advise_readout
from isonum_core.geometry.moments import Moments
from isonum_core.studies.remedies import remedies
from isonum_core.theory.readout import aligned, early_stopped, leave_one_out, ridge

N, D = 1500, 64
EARLY = ("--readout", "early-stopped", "--time", "30")


@pytest.fixture
def planted(rng, tmp_path):
    """Name -> file: states of spectrum k^-1.5 with a mean in the top five directions, and targets in known places."""
    z, basis = rng.normal(size=(N, D)), np.linalg.qr(rng.normal(size=(D, D)))[0]
    mean = 1.5 * basis[:, :5].sum(1)
    h = (z * np.arange(1, D + 1) ** -0.75) @ basis.T + mean
    along = (h - h.mean(0)) @ mean
    targets = {
        "31 to 40": z[:, 30:40].sum(1) / 10**0.5 + rng.normal(size=N),
        "top five": z[:, :5].sum(1) / 5**0.5 + rng.normal(size=N),
        "mean": along / along.std() + 0.5 * rng.normal(size=N),
        "noise": rng.normal(size=N),
    }
    targets["classes"] = np.digitize(targets["top five"], [-1, 1]).astype(float)
    files = {}
    for name, x in (targets | {"states": h}).items():
        files[name] = str(tmp_path / f"{name}.npy")
        np.save(files[name], x)
    return files


@pytest.fixture
def ask(capsys):
    """Words -> exit status and what the JSON says; or the sentence on stderr."""

    def call(*words):
        try:
            status = main(["advise", *map(str, words), "--json"])
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else err

    return call


def _share(found, low, high):
    return sum(b["r2"] for b in found["blocks"] if b["from"] >= low and b["to"] <= high)


def test_a_target_off_the_dominant_directions_wants_whitening(planted, ask):
    status, found = ask(planted["states"], planted["31 to 40"], *EARLY)
    assert status == 0 and found["answer"].startswith("whitening") and found["verdict"].startswith("Do this: whitening")
    effect = found["effects"][found["answer"]]
    assert effect["high"] < -0.2 and abs(effect["theory"] - effect["measured"]) < 0.1  # two halves of the rows differ
    assert found["effects"]["sharpening"]["low"] > 0
    assert found["istar"][0] < 0 and found["istar"][2] < 0  # more isotropy would help, by theory
    # 750 rows tell directions of like variance only roughly apart: a little of the target leaks up
    assert _share(found, 31, D) > 0.35 > 0.12 > abs(_share(found, 1, 30))


def test_a_target_in_the_top_directions_is_left_as_it_is(planted, ask):
    status, found = ask(planted["states"], planted["top five"], "--penalty", 300)
    assert status == 0 and found["answer"] == "nothing" and "Leave it as it is" in found["verdict"]
    assert found["effects"]["whitening"]["low"] > 0.1 and found["effects"]["without the top 10"]["low"] > 0.2
    assert _share(found, 1, 5) > 0.4
    theory = [(e["measured"], e["theory"]) for e in found["effects"].values()]
    assert np.corrcoef(np.array(theory).T)[0, 1] > 0.98


def test_a_ridge_at_its_best_penalty_hardly_feels_a_basis_where_rows_are_many(planted, ask):
    status, found = ask(planted["states"], planted["31 to 40"])
    assert (status, found["answer"]) == (0, "nothing")
    assert abs(found["effects"]["whitening"]["measured"]) < 0.02


def test_a_target_along_the_mean_wants_centring_where_the_bias_is_learned_too(planted, ask):
    status, found = ask(planted["states"], planted["mean"], *EARLY)
    assert (status, found["answer"]) == (0, "centring")
    assert found["facts"]["R2 along the mean direction"] > 0.7
    _, found = ask(planted["states"], planted["mean"], "--penalty", 10)
    assert abs(found["effects"]["centring"]["measured"]) < 1e-9  # a free intercept has centred already


def test_noise_cannot_be_judged(planted, ask, capsys):
    for way in ((), EARLY, ("--readout", "least-squares")):
        status, found = ask(planted["states"], planted["noise"], *way)
        assert status == 1 and found["answer"] is None and "no fit is surely better" in found["verdict"]
    with pytest.raises(SystemExit, match="1"):
        main(["advise", planted["states"], planted["noise"]])
    assert "Cannot know" in capsys.readouterr().out


def test_least_squares_feels_nothing_that_can_be_undone(planted, ask):
    status, found = ask(planted["states"], planted["31 to 40"], "--readout", "least-squares", "--rows", 100000)
    assert (status, found["answer"], found["rows"]) == (0, "nothing", 100000)
    for name in ("centring", "whitening", "whitening softened by 1", "sharpening"):
        assert abs(found["effects"][name]["measured"]) < 1e-9 and abs(found["effects"][name]["theory"]) < 1e-9


def test_few_rows_cannot_tell(planted, ask, tmp_path):
    few = {name: str(tmp_path / f"few {name}.npy") for name in ("states", "top five")}
    for name, file in few.items():
        np.save(file, np.load(planted[name])[:60])
    status, found = ask(few["states"], few["top five"])
    assert status == 1 and found["answer"] is None and "Cannot know: " in found["verdict"]
    status, found = ask(few["states"], few["top five"], "--penalty", 0.001, "--rows", 5000)
    assert found["rows"] == 30 and "at 5000 rows is foretold only where 2 rows a direction" in found["notes"][0]


def test_with_fewer_rows_than_directions_whitening_is_judged_as_new_rows_judge_it(rng):
    """Foretold at twice the rows it came out as a gain. Here ridge is run, at the penalty that new rows like."""
    h = rng.normal(size=(2200, 256)) * np.arange(1, 257) ** -0.75
    y = 3 * h @ (rng.normal(size=256) * np.arange(1, 257) ** -0.75) + 0.5 * rng.normal(size=2200)
    h, y = torch.from_numpy(h), torch.from_numpy(y)[:, None]
    found = advise_readout(h[:200], y[:200], None, "ridge", None, None, np.random.default_rng(0))
    assert (found.judged, found.rows) == (100, 100) and found.effects["whitening"][3] is None  # no theory either
    maps, errors, t = remedies(Moments.of(h[100:200])), {}, y[:100] - y[:100].mean()
    for name in ("nothing", "whitening", "whitening softened by 1"):
        x, new = (maps[name].of(rows) - maps[name].of(h[:100]).mean(0) for rows in (h[:100], h[200:]))
        kernel, tried = x @ x.mT, []
        for penalty in torch.logspace(-5, 3, 25, dtype=torch.float64) * kernel.trace() / 100:
            weights = x.mT @ torch.linalg.solve(kernel + penalty * torch.eye(100, dtype=torch.float64), t)
            tried.append(float((y[200:] - y[:100].mean() - new @ weights).square().mean()))
        errors[name] = min(tried)
    for name in ("whitening", "whitening softened by 1"):
        value, low, *_ = found.effects[name]
        truth = np.log(errors[name] / errors["nothing"])
        assert truth > 0.1 and value > 0 and abs(value - truth) < 0.5  # 100 rows, one draw
    assert found.effects["whitening"][1] > 0 and found.answer in ("nothing", None)


def test_classes_are_judged_by_squared_error_with_accuracy_beside_it(planted, ask):
    status, found = ask(planted["states"], planted["classes"], "--classes", "--penalty", 300)
    assert status == 0 and found["effects"]["whitening"]["low"] > 0.02
    accuracy = [found["facts"][f"accuracy, {name}"] for name in ("nothing", "without the top 10")]
    assert accuracy[0] > accuracy[1] + 0.02 and 1 / 3 < accuracy[0] < 1


@pytest.mark.parametrize("kind", ["ridge", "early-stopped"])
def test_an_effect_is_that_of_a_remedy_fitted_elsewhere(planted, kind):
    """The fit rows are given, so all rows judge: the same by hand."""
    h, y = (torch.from_numpy(np.load(planted[name])) for name in ("states", "top five"))
    fit, h, y = h[:700], h[700:], y[700:, None]
    found = advise_readout(h, y, fit, kind, 5.0, None, np.random.default_rng(0))
    assert (found.judged, found.rows) == (800, 800)
    means = []
    for name in ("whitening", "nothing"):
        x, t = remedies(Moments.of(fit))[name].of(h), y - y.mean(0)
        if kind == "ridge":
            means.append(leave_one_out(aligned(x, t), ridge(5.0 / 799)).mean())
        else:
            x = torch.cat([x, torch.ones(800, 1, dtype=x.dtype)], 1)
            means.append(leave_one_out(aligned(x, t, intercept=False), early_stopped(5.0)).mean())
    # of the read-out's contour 12 nodes are taken here, 16 there: 4e-7
    assert found.effects["whitening"][0] == pytest.approx((means[0] / means[1]).log().item(), abs=1e-5)


def _collection(rng, folder, cone, n=1000, d=48):
    """Queries and documents that share a round meaning; with a cone, also three directions that mean nothing."""
    meaning, sides = rng.normal(size=(n, d)), []
    for name in "ab":
        x = meaning + 0.7 * rng.normal(size=(n, d))
        if cone:
            x[:, :3] = 15 * rng.normal(size=(n, 3)) + 15
        sides.append(str(folder / f"{name}{cone}.npy"))
        np.save(sides[-1], x)
    return sides


def test_search_with_a_cone_wants_it_taken_away_and_without_is_left(rng, tmp_path, ask):
    files = _collection(rng, tmp_path, cone=True)
    status, found = ask("--pairs", *files, "--save", tmp_path / "map.npz")
    assert status == 0 and found["answer"].startswith(("whitening", "without the top"))
    assert found["effects"][found["answer"]]["high"] < -0.3
    saved = np.load(tmp_path / "map.npz")  # applied by hand, it finds what the command says, on all queries
    sides = [(np.load(file) - saved["shift"]) @ saved["matrix"] for file in files]
    sides = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in sides]
    first = ((sides[0] @ sides[1].T).argmax(1) == np.arange(1000)).mean()
    assert first == pytest.approx(found["facts"][f"recall@1, {found['answer']}"], abs=0.08)  # of 500 queries
    status, found = ask("--pairs", *_collection(rng, tmp_path, cone=False))
    assert (status, found["answer"]) == (0, "nothing") and found["level"] > 0.9
    assert found["facts"]["cosine, related"] > 0.5 > 0.1 > abs(found["facts"]["cosine, unrelated"])


def test_retrieval_takes_pairs_and_fit_rows(rng, tmp_path, ask):
    files, rel = _collection(rng, tmp_path, cone=True, n=200), tmp_path / "rel.csv"
    rel.write_text("query,document\n" + "\n".join(f"{i},{i}" for i in range(200)))
    status, found = ask("--retrieval", *files, rel, "--fit", files[1])
    assert (status, found["judged"]) == (0, 200)
    assert found["effects"] == ask("--pairs", *files, "--fit", files[1])[1]["effects"]


def test_ranks_are_judged_beside_the_maps_and_have_none_to_save(rng, tmp_path, ask):
    """One coordinate that dwarfs the others and means nothing: ranks see one in 48 where the cosine sees it alone."""
    meaning, sides = rng.normal(size=(600, 48)), []
    for name in "ab":
        x = meaning + 0.5 * rng.normal(size=(600, 48))
        x[:, 0] = 300 * rng.normal(size=600)
        sides.append(str(tmp_path / f"{name}.npy"))
        np.save(sides[-1], x)
    status, found = ask("--pairs", *sides, "--save", tmp_path / "map.npz")
    ranks = found["effects"]["ranks in place of values"]
    assert status == 0 and ranks["high"] < -0.5 and ranks["measured"] < found["effects"]["centring"]["measured"] - 0.5
    assert (
        found["facts"]["mean eigenvalue over the median"] > 1000 and "softened by the median does" in found["notes"][0]
    )
    # a tenth of the mean eigenvalue is far above the other 47; the median is among them
    soft = [found["effects"][f"whitening softened by {by}"]["measured"] for by in ("1", "the median")]
    assert soft[1] < soft[0] - 0.01


def test_adamw_is_run_and_feels_a_turn(planted, ask):
    """By its own run on other rows: against torch's optimiser on the same halves."""
    h, y = (torch.from_numpy(np.load(planted[name])) for name in ("states", "31 to 40"))
    status, found = ask(planted["states"], planted["31 to 40"], "--readout", "adamw", "--time", "0.05")
    assert status == 0 and (found["judged"], found["rows"]) == (750, 750) and found["istar"] is None
    assert {e["theory"] for e in found["effects"].values()} == {None}
    assert abs(found["effects"]["principal axes alone"]["measured"]) > 1e-3  # ridge would not feel a turn
    order = torch.from_numpy(np.random.default_rng(0).permutation(N))
    judged, taught = order[: N // 2], order[N // 2 :]
    x, t = torch.nn.functional.pad(h, (0, 1), value=1.0), (y - y.mean())[:, None]
    w = torch.zeros(D + 1, 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.AdamW([w])
    for _ in range(50):
        optimiser.zero_grad()
        ((x[taught] @ w - t[taught]).square().mean() / 2).backward()
        optimiser.step()
    left = (t[judged] - x[judged] @ w.detach()).square().mean() / t[judged].var() * N / (N - 2)
    assert found["level"] == pytest.approx(1 - left.item(), abs=0.005)  # the mean alone is left out row by row
    _, tuned = ask(planted["states"], planted["31 to 40"], "--readout", "adamw")
    assert tuned["level"] > found["level"] + 0.1
    status, by_halves = ask(planted["states"], planted["31 to 40"], "--readout", "adamw", "--fit", planted["states"])
    assert (by_halves["judged"], by_halves["rows"]) == (N, N // 2)
    assert by_halves["level"] == pytest.approx(tuned["level"], abs=0.1)
    assert ask(planted["states"], planted["noise"], "--readout", "adamw")[0] == 1


def test_rows_far_out_are_dropped_on_request_and_types_weigh_the_same(planted, ask, tmp_path, rng):
    h, y = np.load(planted["states"]), np.load(planted["top five"])
    far = np.concatenate([h, 1000 * h[:30]])
    for name, x in (("far", far), ("more", np.concatenate([y, rng.normal(size=30)]))):
        np.save(tmp_path / f"{name}.npy", x)
    files = (tmp_path / "far.npy", tmp_path / "more.npy")
    _, kept = ask(*files)
    status, dropped = ask(*files, "--sinks", "drop")
    assert kept["n"] == N + 30 and dropped["n"] == N and status == 0
    assert (
        dropped["notes"][0].startswith("30 states longer than 10 times the median") and dropped["level"] > kept["level"]
    )
    words = tmp_path / "types.txt"
    words.write_text("word\n" + "\n".join(f"w{i % 500}" for i in range(N)))
    _, found = ask(planted["states"], planted["top five"], "--types", words)
    assert found["n"] == 500 and found["notes"][0].startswith("one state of each of 500 types")


def test_classes_may_be_words(planted, ask, tmp_path):
    labels = np.load(planted["classes"]).astype(int)
    words = tmp_path / "labels.csv"
    words.write_text("label\n" + "\n".join(np.array(["low", "middle", "top"])[labels]))
    by_words = ask(planted["states"], words, "--classes", "--penalty", 300)
    assert by_words == ask(planted["states"], planted["classes"], "--classes", "--penalty", 300)


def test_a_file_may_come_after_an_option_and_what_the_answer_takes_for_granted_is_said(planted, ask):
    plain = ask(planted["states"], planted["classes"], "--classes")
    assert ask(planted["states"], "--classes", planted["classes"]) == plain
    assert any("LogisticRegressionCV() tunes it" in note for note in plain[1]["notes"])
    status, text = ask(planted["states"], planted["classes"], "--nothing")
    assert status == 2 and "unrecognized arguments: --nothing" in text
    two = planted["classes"].replace("classes", "two")
    np.save(two, np.load(planted["classes"]).clip(0, 1))
    assert any("two values: if they are classes" in note for note in ask(planted["states"], two)[1]["notes"])


def test_with_fewer_rows_than_directions_the_median_eigenvalue_is_not_told(rng, tmp_path, ask):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(25, 64)))
    status, found = ask("--pairs", tmp_path / "a.npy", tmp_path / "b.npy")
    assert status in (0, 1) and "mean eigenvalue over the median" not in found["facts"]
    assert not any("medians" in note for note in found["notes"])


def test_what_it_costs_is_counted(planted, monkeypatch):
    """Decompositions and passes over all rows, not seconds; and nothing slow to import."""
    counts = {"eigh": 0, "moments": 0}
    eigh, of = torch.linalg.eigh, Moments.of.__func__
    monkeypatch.setattr(torch.linalg, "eigh", lambda x: (counts.__setitem__("eigh", counts["eigh"] + 1), eigh(x))[1])
    monkeypatch.setattr(
        Moments, "of", classmethod(lambda *a: (counts.__setitem__("moments", counts["moments"] + 1), of(*a))[1])
    )
    h, y = (torch.from_numpy(np.load(planted[name])) for name in ("states", "top five"))
    for kind, most in (("ridge", 8), ("early-stopped", 10)):
        counts.update(eigh=0, moments=0)
        advise_readout(h, y[:, None], None, kind, None, None, np.random.default_rng(0))
        assert counts == {"eigh": most, "moments": 2}  # one of the fit rows, one a cloud that differs; and the report
    slow = "import sys, isonum_core.commands.advice; print([m for m in ('sklearn', 'scipy.stats') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", slow], capture_output=True, text=True).stdout == "[]\n"


def test_people_read_a_table(planted, capsys):
    assert main(["advise", planted["states"], planted["31 to 40"], *EARLY]) == 0
    text = capsys.readouterr().out
    for words in (
        "early-stopped, foretold for 1500 rows that teach",
        "weight above 0, rounder",
        "where the target lies",
        "31 to 64",
    ):
        assert words in text
    assert "95 % interval     theory" in text
    assert text.rstrip().endswith("Do this: whitening.") and max(map(len, text.splitlines())) < 200


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["{states}"], "--pairs, or --retrieval was expected"),
        ([], "--pairs, or --retrieval was expected"),
        (["{states}", "{noise}", "--pairs", "a", "b"], "Give one of the three"),
        (["{states}", "{short}", "--classes"], "2 to 100 classes"),
        (["{states}", "{noise}", "--time", "3"], "--time for the others, got ridge"),
        (["{states}", "{noise}", "--readout", "adamw", "--rows", "9"], "have a formula, got adamw"),
        (["--pairs", "{states}", "{states}", "--sinks", "drop"], "Leave such rows out of your files"),
        (["{states}", "{noise}", "--types", "{short}"], "got 7"),
        (["{states}", "{noise}", "--classes"], "one column of whole numbers"),
        (["{states}", "{noise}", "--penalty", "-1"], "--penalty 0 or more was expected, got -1"),
        (["{states}", "{short}"], "got 7 targets for 1500 states"),
        (["{states}", "{gap}"], "got 1500 that are not, the first in row 1, column 1 (from 1)"),
        (["--pairs", "{states}", "{short}"], "row i of B for each row i of A was expected, got 1500 rows and 7"),
        (["{states}", "{solid}"], "one row a state"),
        (["{states}", "{same}"], "targets that differ"),
        (["{states}", "{text}"], "add --classes"),
        (["{states}", "{noise}", "--fit", "{noise}"], "d = 64 like yours, got 1"),
        (["{states}", "{noise}", "--rows", "0"], "--rows 1 or more"),
        (["{states}", "{noise}", "--penalty", "nan"], "--penalty 0 or more"),
        (["{states}", "{noise}", "--readout", "early-stopped", "--time", "-1"], "--time 0 or more"),
        (["{states}", "{noise}", "--seed", "-1"], "--seed 0 or more"),
        (["{states}", "{noise}", "--save", "map.csv"], "ending in .npz"),
        (["{states}", "{noise}", "--save", "{noise}/map.npz"], "a folder that exists"),
        (["--pairs", "{states}", "{states}", "--classes"], "for FEATURES and TARGETS. Leave them out"),
        (["--pairs", "{states}", "{noise}"], "one d were expected, got 64 and 1"),
        (["--retrieval", "{states}", "{states}", "{gapless}"], "pairs (query, document)"),
        (["--retrieval", "{states}", "{states}", "{few}"], "each with a relevant document"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(planted, ask, tmp_path, words, sentence):
    planted["text"] = str(tmp_path / "text.txt")
    (tmp_path / "text.txt").write_text("low\nhigh\n" * (N // 2))
    odd = {
        "solid": np.ones((N, 2, 2)),
        "same": np.ones(N),
        "short": np.ones(7),
        "gap": np.full(N, np.nan),
        "gapless": np.full((5, 2), 1e6),
        "few": np.ones((5, 2)),
    }
    for name, x in odd.items():
        planted[name] = str(tmp_path / f"{name}.npy")
        np.save(planted[name], x)
    status, said = ask(*(word.format(**planted) for word in words))
    assert status == 2 and said.startswith("error: ") and sentence in said and said.count("\n") == 1
