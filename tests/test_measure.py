"""`measure`: its numbers against transformers' own hidden states, its sinks, its rims, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from isonum_core.__main__ import main
from isonum_core.commands import feeding
from isonum_core.commands import measure as module
from isonum_core.errors import WeakNumberWarning
from isonum_core.geometry.neighbours import two_nn
from isonum_core.networks.packaged import fracast, fracast_states
from isonum_core.networks.tiny import Tiny, tiny_model
from isonum_core.worlds.series import find_series

ROOT = Path(__file__).resolve().parents[1]
WORDS = "the cat sat on a mat and the dog ran far away from old red barns while rain fell on seven quiet hills".split()
SINK_WORD = "zebra"
LENGTH = 16
SHAPE = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, vocab_size=60)
KINDS = {
    "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config(n_embd=24, n_layer=3, n_head=2, vocab_size=60)),
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**SHAPE, num_key_value_heads=2)),
    "bert": (transformers.BertForMaskedLM, transformers.BertConfig(**SHAPE)),
}


NORMS = {"gpt2": "ln_f", "llama": "norm"}


def _tokenizer():
    """Word by word, with a start token that is special: ids from 3 on are the words."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["?", "<s>", "<pad>"], vocab_size=60)
    digits = [f"{i:02d}" for i in range(10)]
    tokenizer.train_from_iterator([" ".join([*WORDS, SINK_WORD, *digits])], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?", pad_token="<pad>")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            cls, config = KINDS[kind]
            torch.manual_seed(0)
            model = cls(config)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
            model.save_pretrained(made[kind])
            _tokenizer().save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(WORDS, 700)))
    return path


def _run(capsys, *words):
    capsys.readouterr()  # what transformers says of the fixtures
    status = main(["measure", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def _json(capsys, *words):
    status, out, err = _run(capsys, *words, "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    return {site["site"]: site for site in found["sites"]}, found


def _hidden(folder, kind, text, length=LENGTH):
    """(L, n, d): transformers' own hidden states of the text in windows, and the ids (n,); one pass a window.

    Where a norm follows the last block its states stand last: from a second pass, in which the norm is taken away.
    """
    model = KINDS[kind][0].from_pretrained(folder).eval()
    ids = torch.tensor(_tokenizer()(text.read_text())["input_ids"])
    with torch.no_grad():
        passes = [model(part[None], output_hidden_states=True).hidden_states for part in ids.split(length)]
        if kind in NORMS:
            setattr(model.base_model, NORMS[kind], torch.nn.Identity())
            bare = [model(part[None], output_hidden_states=True).hidden_states[-1] for part in ids.split(length)]
            passes = [(*states, last) for states, last in zip(passes, bare, strict=True)]
    return [torch.cat(layer, 1)[0].double().numpy() for layer in zip(*passes, strict=True)], ids.numpy()


def _textbook(x):
    values = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    n, mean, ratio = len(x), x.mean(0), values.sum() ** 2 / (values**2).sum()
    return dict(
        n=n,
        mean_cosine=((units @ units.T).sum() - n) / (n * (n - 1)),
        mean_share=mean @ mean / (mean @ mean + values.sum()),
        participation_ratio=ratio,
        isoscore=(ratio - 1) / (x.shape[1] - 1),
        top_direction=values[0] / values.sum(),
        top_dimension=x.var(0).max() / x.var(0).sum(),
        outlier_dimensions=(x.var(0) > 5 * x.var(0).mean()).sum(),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_site_is_the_hidden_state_of_transformers(capsys, folder_of, text, kind):
    """Where a final norm is, transformers' hidden states end with it, and what leaves the last block is not there."""
    hidden, _ = _hidden(folder_of(kind), kind, text)
    found, facts = _json(capsys, folder_of(kind), "--text", text, "--length", LENGTH)
    sites = ["embed", "block.0", "block.1", *(["final_norm"] if kind in NORMS else []), "block.2"]
    for site, x in zip(sites, hidden, strict=True):
        for name, value in _textbook(x).items():
            assert found[site][name] == pytest.approx(value, rel=1e-5, abs=1e-7), (site, name)
    assert list(found) == [*sites[:3], "block.2", *["final_norm"] * (kind in NORMS)]
    assert facts["model"]["id"] == str(folder_of(kind)) and facts["per"] == "token" and not facts["interrupted"]
    assert found["embed"]["null"]["isoscore"] == pytest.approx(698 / 724)


def test_a_state_is_a_token_the_first_of_its_type_or_the_last_of_its_window(capsys, folder_of, text):
    hidden, ids = _hidden(folder_of("llama"), "llama", text)
    first = np.unique(ids, return_index=True)[1]
    ends = np.minimum(np.arange(LENGTH, len(ids) + LENGTH, LENGTH), len(ids)) - 1
    for per, rows in (("type", first), ("window", ends)):
        found, _ = _json(capsys, folder_of("llama"), "--text", text, "--length", LENGTH, "--per", per)
        for name, value in _textbook(hidden[2][rows]).items():
            assert found["block.1"][name] == pytest.approx(value, rel=1e-5), (per, name)


@pytest.fixture(scope="module")
def sinking(folder_of, tmp_path_factory):
    """A checkpoint in which one word's embedding is thirty times as long, and a text that begins windows with it."""
    folder = tmp_path_factory.mktemp("sinking")
    model = transformers.LlamaForCausalLM.from_pretrained(folder_of("llama"))
    tokenizer = _tokenizer()
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer(SINK_WORD)["input_ids"][0]] *= 30
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    words = np.random.default_rng(1).choice(WORDS, 40 * LENGTH).tolist()
    words[:: 4 * LENGTH] = [SINK_WORD] * 10
    words[LENGTH + 5] = SINK_WORD
    (folder / "text").write_text(" ".join(words))
    return folder


def test_sinks_are_found_placed_and_left_out(capsys, sinking):
    words = (sinking, "--text", sinking / "text", "--length", LENGTH, "--sites", "embed")
    both = _json(capsys, *words)[0]["embed"]
    assert sorted(both["sinks"]) == [0] * 10 + [5] and both["longest"] > 10
    hidden, ids = _hidden(sinking, "llama", sinking / "text")
    plain = ids != _tokenizer()(SINK_WORD)["input_ids"][0]
    assert both["mean_cosine"] == pytest.approx(_textbook(hidden[0])["mean_cosine"], rel=1e-5)
    for name, value in _textbook(hidden[0][plain]).items():
        assert both["without_sinks"][name] == pytest.approx(value, rel=1e-5), name
    drop, keep = (_json(capsys, *words, "--sinks", kind)[0]["embed"] for kind in ("drop", "keep"))
    assert drop["n"] == both["without_sinks"]["n"] == 640 - 11 and drop["isoscore"] == both["without_sinks"]["isoscore"]
    assert (keep["n"], keep["isoscore"], keep["sinks"]) == (640, both["isoscore"], [])
    status, out, _ = _run(capsys, *words)
    lines = out.splitlines()
    assert status == 0 and "0 (10), 5 (1)" in lines[3] and lines[4].split()[:2] == ["without", "629"]
    pr = both["participation_ratio"], both["without_sinks"]["participation_ratio"]
    assert f"the longest at embed, where PR is {pr[0]:.3g} with and {pr[1]:.3g} without, of 24." in lines[-2]
    assert lines[-1].endswith("Read next: What is isotropy?")


def test_dimensions_come_on_request(capsys, sinking):
    words = (sinking, "--text", sinking / "text", "--length", LENGTH, "--sites", "block.1")
    assert "twonn" not in _json(capsys, *words)[0]["block.1"]
    hidden, _ = _hidden(sinking, "llama", sinking / "text")
    found, facts = _json(capsys, *words, "--twonn")
    with pytest.warns(WeakNumberWarning, match="rows repeat another"):
        assert found["block.1"]["twonn"] == pytest.approx(two_nn(hidden[2].astype(np.float32)), rel=1e-3)
    assert "TwoNN is of the first 2000 states" in found["block.1"]["notes"]
    found, _ = _json(capsys, *words, "--twonn", "--sites", "embed")
    assert found["embed"]["twonn"] != found["embed"]["without_sinks"]["twonn"]


def test_what_is_kept_does_not_grow_with_the_text(folder_of, text, tmp_path, monkeypatch):
    long = tmp_path / "long.txt"
    long.write_text(" ".join([text.read_text()] * 8))
    sizes = []
    monkeypatch.setattr(module, "_report", lambda sums, options: sizes.append(sums) or pytest.skip("seen"))
    for file in (text, long):
        with pytest.raises(pytest.skip.Exception):
            main(
                ["measure", str(folder_of("gpt2")), "--text", str(file), "--length", str(LENGTH), "--sites", "block.1"]
            )
    short, long = (sums.all for sums in sizes)
    assert len(long.lengths) == 8 * len(short.lengths) and len(long.suspects) == len(short.suspects) == 0
    assert short.ordinary.dense.shape == long.ordinary.dense.shape == (24, 24)


PEAKS = """
import contextlib, io, resource, sys
from isonum_core.__main__ import main
for tokens in ("2000", "200000"):
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["measure", sys.argv[1], "--text", sys.argv[2], "--tokens", tokens]) == 0
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def test_peak_memory_is_that_of_a_short_text(folder_of, tmp_path):
    """Of 200,000 tokens a length each stays, 8 MB at five sites; their states, kept, would be 96 MB in float32."""
    (tmp_path / "long.txt").write_text(" ".join(np.random.default_rng(0).choice(WORDS, 201_000)))
    line = [sys.executable, "-c", PEAKS, str(folder_of("gpt2")), str(tmp_path / "long.txt")]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    short, long = map(int, done.stdout.split())
    assert long - short <= 50e6


@pytest.mark.parametrize("length", [LENGTH, 100])
def test_a_batch_is_small_and_the_head_is_given_one_position_a_window(folder_of, text, monkeypatch, length):
    """What decides the peak of memory: tokens a batch, and logits of the vocabulary."""
    passed, headed = [], []

    def loaded(name, device):
        found = _load(name, device)
        found.model.model.register_forward_hook(lambda module, args, out: passed.append(out.last_hidden_state.shape))
        found.model.lm_head.register_forward_hook(lambda module, args, out: headed.append(out.shape))
        return found

    _load = module._loaded
    monkeypatch.setattr(module, "_loaded", loaded)
    main(["measure", str(folder_of("llama")), "--text", str(text), "--length", str(length)])
    assert max(rows * steps for rows, steps, _ in passed) <= feeding.TOKENS == 512
    assert max(rows for rows, *_ in passed) == 512 // length and {steps for _, steps, _ in headed} == {1}


def test_an_interruption_reports_what_was_read(capsys, folder_of, text, monkeypatch):
    words = (folder_of("gpt2"), "--text", text, "--length", LENGTH)
    monkeypatch.setattr(feeding, "TOKENS", 128)
    part, _ = _json(capsys, *words, "--tokens", "200")
    assert part["embed"]["n"] == 256  # two batches of eight windows
    capture_sums, calls = module.capture_sums, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return capture_sums(*arguments)

    monkeypatch.setattr(module, "capture_sums", interrupted)
    found, facts = _json(capsys, *words)
    assert facts["interrupted"] and "interrupted: this is of what was read until then" in found["embed"]["notes"]
    assert all(found[site]["isoscore"] == part[site]["isoscore"] for site in part)
    calls[:] = [1, 1]
    status, out, err = _run(capsys, *words)
    assert (status, out) == (2, "") and "got an interruption before the first" in err


def test_an_interruption_elsewhere_is_one_word(capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_loaded", interrupted)
    assert _run(capsys, "minilm") == (130, "", "interrupted\n")


def test_series_are_written_as_levels_for_a_model_of_words(capsys, folder_of, tmp_path):
    values = np.random.default_rng(0).normal(size=300)
    np.save(tmp_path / "x.npy", values)
    levels = np.clip((values - values.min() + 0.1 * np.ptp(values)) / (1.2 * np.ptp(values)) * 100, 0, 99).astype(int)
    (tmp_path / "x.txt").write_text(" ".join(f"{level:02d}" for level in levels))
    words = (folder_of("gpt2"), "--length", LENGTH)
    series, text = (
        _json(capsys, *words, *source)[0]
        for source in (("--series", tmp_path / "x.npy"), ("--text", tmp_path / "x.txt"))
    )
    assert series["block.1"]["isoscore"] == text["block.1"]["isoscore"] and series["embed"]["n"] == 300


def test_a_model_of_numbers_reads_windows_of_a_series(capsys, tmp_path):
    tiny_model(Tiny("patchtst"), 0).save_pretrained(tmp_path / "model")
    found, facts = _json(capsys, tmp_path / "model")
    x = find_series("sunspots").values[0]
    windows = torch.tensor(np.lib.stride_tricks.sliding_window_view(x, 128)[:-1], dtype=torch.float32)
    assert found["block.1"]["n"] == len(windows) * 8
    model = transformers.PatchTSTForPrediction.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        last = model.model(past_values=windows[..., None]).last_hidden_state.reshape(-1, 32)
    assert found["block.1"]["isoscore"] == pytest.approx(_textbook(last.double().numpy())["isoscore"], rel=1e-5)
    assert "the series is the yearly number of sunspots" in found["embed"]["notes"]


def test_both_halves_are_read(capsys, tmp_path, text):
    config = transformers.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=60)
    config.decoder_start_token_id = 0
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    _tokenizer().save_pretrained(tmp_path)
    found, _ = _json(capsys, tmp_path, "--text", text, "--length", LENGTH, "--twonn")
    assert found["encoder.block.1"]["n"] == found["decoder.block.1"]["n"] == 700
    assert found["decoder.block.1"]["twonn"] > 0
    assert "the decoder is given the same text as the encoder" in found["encoder.embed"]["notes"]


def test_out_is_what_json_prints(capsys, folder_of, text, tmp_path):
    words = (folder_of("gpt2"), "--text", text, "--length", LENGTH, "--out", tmp_path / "x.json")
    status, out, _ = _run(capsys, *words, "--json")
    assert status == 0 and (tmp_path / "x.json").read_text() + "\n" == out


def test_without_a_file_the_book_s_own_text_is_read(capsys, folder_of):
    default, _ = _json(capsys, folder_of("gpt2"), "--default", "--tokens", "100", "--sites", "embed")
    plain, _ = _json(capsys, folder_of("gpt2"), "--tokens", "100", "--sites", "embed")
    assert default == plain and "docstrings of numpy and pandas" in default["embed"]["notes"][-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--sites", "block.9"], r"sites of GPT2LMHeadModel were expected, got ['block.9']. It has: embed, block.0"),
        (["--text", "nosuch.txt"], "a file was expected at nosuch.txt, got nothing there"),
        (["--series", "nosuch.npy"], "a file was expected at nosuch.npy, got nothing there"),
        (["--device", "abacus"], "a device for"),
        (["--length", "0"], "a --length of at least 1 were expected, got --tokens inf and --length 0"),
        (["--tokens", "0"], "--tokens above 0"),
        (["--tokens", "nan"], "--tokens above 0"),
        (["--length", "5000"], "at most 1024 positions were expected"),
        (["--out", "nosuch/x.json", "--tokens", "9"], "a file that can be written was expected at nosuch/x.json"),
        (
            ["--blocks", "nosuch"],
            "blocks were expected at nosuch, got GPT2LMHeadModel with module lists at transformer.h",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(capsys, folder_of, words, sentence):
    status, out, err = _run(capsys, folder_of("gpt2"), *words)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert sentence in err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "a text with a word at least"), (b" \n \n", "a text with a word"), (b"\x00\x01", "a text was expected in")],
)
def test_texts_that_are_none(capsys, folder_of, tmp_path, content, sentence):
    (tmp_path / "x").write_bytes(content)
    status, _, err = _run(capsys, folder_of("gpt2"), "--text", tmp_path / "x")
    assert status == 2 and sentence in err and err.count("\n") == 1


def test_models_of_numbers_read_no_words(capsys, tmp_path, text):
    tiny_model(Tiny("patchtst"), 0).save_pretrained(tmp_path)
    for words in (["--text", str(text)], ["--per", "window"], ["--per", "type"]):
        status, _, err = _run(capsys, tmp_path, *words)
        assert status == 2 and f"a model that reads words was expected for {' '.join(words)[-12:]}"[:40] in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["nosuch", "a/b", "a/b@main", "a/b@" + "0" * 40])
def test_models_that_are_not_there(capsys, name):
    status, _, err = _run(capsys, name)
    assert status == 2 and err.count("\n") == 1
    assert any(words in err for words in ("an existing folder or a hub id", "full commit hash", "HF_HUB_OFFLINE=0"))


def test_where_nothing_can_be_told_nothing_is_said(capsys, folder_of, tmp_path):
    """One state has no spectrum: no half is called fine for it."""
    (tmp_path / "x").write_text("cat")
    status, out, _ = _run(capsys, folder_of("gpt2"), "--text", tmp_path / "x")
    assert (
        status == 0
        and "off the origin (mean half) at 0 (untold at 5)" in out
        and out.rstrip().endswith("What is isotropy?")
    )


def test_positions_that_the_model_keeps_to_itself_are_not_used(capsys, tmp_path, text):
    """RoBERTa's table has two rows more than it takes positions; XLNet says -1 where it has no limit."""
    shape = {key: SHAPE[key] for key in SHAPE if key != "vocab_size"}
    config = transformers.RobertaConfig(**shape, vocab_size=60, pad_token_id=1, max_position_embeddings=34)
    transformers.RobertaForMaskedLM(config).save_pretrained(tmp_path / "roberta")
    config = transformers.XLNetConfig(d_model=16, n_layer=2, n_head=2, d_inner=32, vocab_size=60)
    transformers.XLNetLMHeadModel(config).save_pretrained(tmp_path / "xlnet")
    for name in ("roberta", "xlnet"):
        _tokenizer().save_pretrained(tmp_path / name)
        found, _ = _json(capsys, tmp_path / name, "--text", text, "--sites", "embed")
        assert found["embed"]["n"] == 700


needs_fracast = pytest.mark.skipif(find_spec("fracast") is None, reason="the package fracast is not installed")


@needs_fracast
def test_fracast_gives_a_state_a_window(capsys):
    found, facts = _json(capsys, "fracast", "--length", "100", "--twonn")
    x = find_series("sunspots").values[0]
    windows = torch.tensor(np.lib.stride_tricks.sliding_window_view(x, 100)[:-1], dtype=torch.float32)
    states = fracast_states(fracast().model, windows)
    assert [*found] == [*states] and facts["per"] == "window"
    for name, value in _textbook(states["block.4"].double().numpy()).items():
        assert found["block.4"][name] == pytest.approx(value, rel=1e-4), name


@needs_fracast
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--per", "token"], "a model that reads words was expected for --per token"),
        (["--sites", "nosuch"], "sites of fracast were expected, got nosuch. It has: embed, block.0"),
        (["--length", "7"], "a --length of at least 8 were expected"),
        (["--length", "400"], "a window of 400 + 1 steps needs a part as long, got 309 steps"),
        (["--device", "cuda"], "a device for fracast was expected, got 'cuda'"),
    ],
)
def test_what_fracast_does_not_do_is_one_sentence(capsys, words, sentence):
    status, out, err = _run(capsys, "fracast", *words)
    assert (status, out) == (2, "") and sentence in err and err.count("\n") == 1
