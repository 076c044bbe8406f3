"""Rows of the study `proxy`: what networks see, where planted targets lie, and that a site is asked as it is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from isonum_core.errors import IsonumError
from isonum_core.lab.study import find_study
from isonum_core.networks.models import Checkpoint
from isonum_core.studies import proxy as study
from isonum_core.studies.istar import natural
from isonum_core.studies.proxy import (
    AMOUNTS,
    COLUMNS,
    NATURAL,
    NETS,
    SERIES,
    TEXTS,
    Proxy,
    amounts,
    asked,
    planted,
    series_states,
    text_states,
    world_of,
)
from isonum_core.studies.proxy_readouts import Taught, filters_of, place, whitened


@pytest.fixture
def brief(monkeypatch):
    """Worlds of sixty windows and few steps of training."""
    monkeypatch.setattr(study, "AMOUNTS", dict.fromkeys(AMOUNTS, (14, 40)))
    monkeypatch.setattr(study, "TESTED", 20)
    monkeypatch.setattr(study, "STEPS", 2)


def test_a_run_is_rows_of_the_study_and_the_same_again(brief):
    config = Proxy("henon", "gpt2", True, 0)
    rows = study.run(config)
    assert [row["site"] for row in rows[::8]] == ["embed", "block.0", "block.1", "final_norm", "read"][: len(rows) // 8]
    assert {row["target"] for row in rows} == {*NATURAL, "top", "middle", "low"}
    cells = find_study("proxy").cells(config, rows)
    assert set(COLUMNS) <= set(cells[0]) and (cells[0]["few"], cells[0]["many"], cells[0]["d"]) == ("14", "40", "32")
    assert find_study("proxy").cells(config, study.run(config)) == cells


def test_what_is_asked_of_a_site_is_what_the_columns_say(rng):
    h, y = torch.from_numpy(rng.normal(size=(90, 6)) * [3, 2, 1, 1, 0.5, 0.2]), torch.from_numpy(rng.normal(size=90))
    y = torch.stack([h[:, 0] + y, h[:, 5] + 0.1 * y], 1)
    found = asked(h, y, 12, 60, rng)
    taught = Taught.of(h[:60], y[:60])
    for j in range(2):
        misses = {
            name: taught.misses(h[60:], y[60:], filters_of(a, "fixed")[0])[:, j].square()
            for name, a in (("plain", taught.cloud), ("white", whitened(taught.cloud)))
        }
        apart = misses["white"] - misses["plain"]
        assert found["error_fixed"][j] == pytest.approx(float(misses["plain"].mean()))
        assert found["white_fixed"][j] == pytest.approx(float((misses["white"].mean() / misses["plain"].mean()).log()))
        assert found["sure_fixed"][j] == pytest.approx(float(apart.mean() / apart.std() * 30**0.5))
        offs = []
        for i in range(0, 48, 12):
            _, left = filters_of(Taught.of(h[i : i + 12], y[i : i + 12]).cloud, "weak")
            offs.append(float((left[j] / found["error_weak"][j]).log() ** 2))
        assert found["off_left_out_weak"][j] == pytest.approx(np.mean(offs))
        assert found["train"][j] < found["loo"][j] and found["place"][j] == pytest.approx(
            float(place(Taught.of(h, y).cloud)[j])
        )
    assert all(len(values) == 2 for values in found.values())


def test_planted_targets_lie_where_they_are_planted(rng):
    h = torch.from_numpy(rng.normal(size=(4000, 40)) * np.arange(1, 41) ** -0.5)
    targets = planted(h, rng)
    y = torch.from_numpy(np.column_stack([*targets.values()]))
    assert [*targets] == ["top", "middle", "low"]
    np.testing.assert_allclose(y.var(0), 1.25, atol=0.1)  # one of the states, a quarter of noise
    np.testing.assert_allclose(place(Taught.of(h, y).cloud), [0.95, 0.5, 0.25], atol=0.03)


def test_a_world_is_the_same_for_every_network_and_its_targets_come_next():
    one, two = world_of("henon", 0), world_of("henon", 0)
    np.testing.assert_array_equal(one.rows, two.rows)
    assert not np.array_equal(one.rows[:5], world_of("henon", 1).rows[:5]) and [*one.targets] == [*NATURAL]
    want = natural(one.rows[:, study.CONTEXT - study.SEEN :])
    np.testing.assert_array_equal(one.targets["range"], want["range"])
    rolled = np.abs(np.corrcoef(one.rows[:-1, 0], one.rows[1:, 0])[0, 1])
    assert rolled < 0.1  # in random order: what teaches and what judges are alike


@pytest.mark.parametrize("network", ["gpt2", "t5", "patchtst"])
def test_a_network_sees_the_context_alone(network, brief):
    windows = world_of("ar2_period", 0).rows[:12]
    other = windows.copy()
    other[:, study.CONTEXT :] += 1
    one, two = (series_states(Proxy("ar2_period", network, True, 0), x) for x in (windows, other))
    assert [*one] == [*two] and len(one) >= 4
    for site in one:
        assert torch.equal(one[site], two[site]) and one[site].std(0).max() > 0, site


def test_fracast_is_read_at_its_last_step(monkeypatch):
    met = []
    monkeypatch.setattr(study, "fracast_or_twin", lambda trained: trained)
    sites = {"embed": 0, "block.1": 1, "final_norm": 2}
    monkeypatch.setattr(
        study, "fracast_states", lambda model, x: met.append((model, x)) or {name: x[:, -2:] for name in sites}
    )
    windows = world_of("ar1", 0).rows[:6]
    found = series_states(Proxy("ar1", "fracast", True, 0), windows)
    assert [*found] == ["embed", "final_norm"] and all(model is True for model, _ in met)
    np.testing.assert_allclose(found["embed"], windows[:, study.CONTEXT - 2 : study.CONTEXT], rtol=1e-6)  # float32


def test_texts_are_read_by_the_mean_over_their_tokens(monkeypatch):
    words = ["[PAD]", "[CLS]", "one", "two", "three"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[PAD]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", cls_token="[CLS]")
    sizes = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, vocab_size=5)
    torch.manual_seed(3)
    model = transformers.BertModel(transformers.BertConfig(**sizes, initializer_range=0.5)).eval()
    monkeypatch.setattr(study, "minilm", lambda: Checkpoint(model, tokenizer, {}))
    texts = ["one two", "three one two three", "two"]
    found = text_states(Proxy("docstrings", "minilm", True, 0), texts)
    assert [*found] == ["block.0", "block.1", "block.2"]
    for i, text in enumerate(texts):
        ids = torch.tensor([[words.index(w) for w in text.split()]])
        with torch.no_grad():
            want = model(input_ids=ids, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(found["block.1"][i], want[2][0].mean(0), rtol=1e-5, atol=1e-6)
    twin = text_states(Proxy("docstrings", "minilm", False, 0), texts)
    assert twin["block.2"].shape == (3, 16) and not torch.allclose(twin["block.2"], found["block.2"])


def test_worlds_of_texts_have_targets_of_their_own(monkeypatch):
    monkeypatch.setattr(study, "labelled_sentences", lambda: (["a bc", "def", "gh i j"], np.array([1, 0, 1])))
    told = world_of("amazon", 0)
    assert sorted(told.rows) == ["a bc", "def", "gh i j"]
    for text, length, letters, praise in zip(told.rows, *told.targets.values(), strict=True):
        own = text.split()
        assert length == pytest.approx(np.log(len(own))) and letters == pytest.approx(np.mean([*map(len, own)]))
        assert praise == (-1 if text == "def" else 1)
    page = "\n = Head = \n\nIt was in 1987 that he came back here . Then he left .\n\nToo short a line\n"
    monkeypatch.setattr(study, "published_text", lambda name: page)
    told = world_of("wikitext", 0)
    assert told.rows == ["It was in 1987 that he came back here"] and told.targets["number"].tolist() == [1]
    assert [*world_of("docstrings", 0).targets] == ["length", "letters"]


def test_halves_share_no_world_and_the_second_has_networks_of_its_own():
    configs = study.grid("cpu")
    assert len(set(configs)) == len(configs) == 36 and study.grid("quick")[0].network in study.TRUNKS
    of = {part: {c.network for c in configs if c.world in (*SERIES[part], *TEXTS[part])} for part in SERIES}
    assert of["build"] & of["held"] == {"minilm"} and not set(SERIES["build"]) & set(SERIES["held"])
    assert set(NETS["held"]) <= of["held"] and sum(c.trained for c in configs) == 19
    assert len([c for c in study.grid("gpu") if c.seed]) == 2 * len([c for c in configs if c.network in study.TRUNKS])
    assert amounts(Proxy("ar1", "fracast", True, 0)) == (2 * 64, 12 * 64) and amounts(Proxy("ar1", "t5", True, 0)) == (
        64,
        384,
    )
    assert (
        amounts(Proxy("amazon", "smollm2", True, 0))
        == AMOUNTS["text"]
        != amounts(Proxy("docstrings", "minilm", True, 0))
    )


def test_an_unknown_world_is_refused():
    with pytest.raises(IsonumError, match="family"):
        world_of("nowhere", 0)


def test_only_what_whitening_does_to_a_net_depends_on_rounding():
    """Its first site is a line through few values: the smallest eigenvalues are rounding, which whitening blows up."""
    names = study.provisional(Proxy("mackey_glass", "t5", True, 0))
    assert "white_fixed" in names and "sure_few_timed" in names and not {"error_tuned", "loo", "iso_score"} & names
    assert study.provisional(Proxy("amazon", "smollm2", True, 0)) == set()
