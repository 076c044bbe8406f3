from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.sinks import SinkMoments
from isonum_core.networks.capture import capture, capture_sums, collect
from isonum_core.networks.patched import Patched, patched_model, read
from isonum_core.networks.sites import sites
from isonum_core.networks.tiny import Tiny, tiny_model

SMALL = dict(vocab_size=40, bos_token_id=0, eos_token_id=1, pad_token_id=0)


def _gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=3, n_embd=16, n_head=2, n_positions=64, **SMALL)
    )


def _llama():
    shape = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **SMALL))


def _neox():
    shape = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**shape, **SMALL))


def _bert():
    shape = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)
    return transformers.BertForMaskedLM(transformers.BertConfig(**shape, **SMALL))


def _distilbert():
    shape = dict(dim=16, n_layers=3, n_heads=2, hidden_dim=32)
    return transformers.DistilBertModel(transformers.DistilBertConfig(**shape, **SMALL))


def _t5():
    shape = dict(d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2, decoder_start_token_id=0)
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**shape, **SMALL))


BUILD = dict(gpt2=_gpt2, llama=_llama, neox=_neox, bert=_bert, distilbert=_distilbert)
PRE_NORM = ("gpt2", "llama", "neox")
BLOCKS = ["embed", "block.0", "block.1", "block.2"]


@pytest.fixture(scope="module")
def model_of():
    def build(name):
        torch.manual_seed(0)
        model = (BUILD | dict(t5=_t5))[name]().eval().double()
        # Norms start as the identity; without this, a site before the norm could pass for the one after it.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return build


def _batch(rows=4, length=9, seed=1, padding=0, prefix=""):
    """Random tokens between two special ones, then padding on the right."""
    ids = torch.randint(2, 40, (rows, length), generator=torch.Generator().manual_seed(seed))
    read, special = torch.ones_like(ids), torch.zeros_like(ids)
    ids[:, 0], ids[:, -1] = 0, 1
    special[:, 0] = special[:, -1] = 1
    if padding:
        filler = torch.full((rows, padding), 7)
        ids, read = torch.cat([ids, filler], 1), torch.cat([read, torch.zeros_like(filler)], 1)
        special = torch.cat([special, torch.ones_like(filler)], 1)
    return {f"{prefix}input_ids": ids, f"{prefix}attention_mask": read, f"{prefix}special_tokens_mask": special}


def _plain(batch):
    return {k: v for k, v in batch.items() if not k.endswith("special_tokens_mask")}


def _same(a: Moments, b: Moments):
    # Models run in float64: what differs is the order of sums, a few units of the last place of states near 1.
    assert (a.n, a.d) == (b.n, b.d)
    torch.testing.assert_close(a.mean, b.mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(a.covariance, b.covariance, rtol=0, atol=1e-12)
    torch.testing.assert_close(a.directions.unit_sum, b.directions.unit_sum, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", BUILD)
def test_sites_have_names(name, model_of):
    expected = BLOCKS + ["final_norm"] * (name in PRE_NORM) + ["logits"] * (name != "distilbert")
    assert sites(model_of(name)) == expected


@pytest.mark.parametrize("name", BUILD)
def test_blocks_are_the_hidden_states_of_transformers_up_to_the_last(name, model_of):
    model, batch = model_of(name), _batch()
    with torch.no_grad():
        hidden = model(**_plain(batch), output_hidden_states=True).hidden_states
    words = slice(1, -1)
    found = capture(model, [batch])
    for site, states in zip(BLOCKS[:3], hidden, strict=False):
        _same(found[site], Moments.of(states[:, words].reshape(-1, 16)))
    last = Moments.of(hidden[-1][:, words].reshape(-1, 16))
    if name in PRE_NORM:
        _same(found["final_norm"], last)
        assert (found["block.2"].mean - last.mean).abs().max() > 1e-3, "the last entry is after the final norm"
    else:
        _same(found["block.2"], last)


@pytest.mark.parametrize("name", BUILD)
def test_a_site_is_a_plain_hook_on_its_module(name, model_of):
    model, batch = model_of(name), _batch()
    path = dict(
        gpt2="transformer.h.1", llama="model.layers.1", neox="gpt_neox.layers.1", bert="bert.encoder.layer.1"
    ).get(name, "transformer.layer.1")
    kept = []
    handle = model.get_submodule(path).register_forward_hook(
        lambda module, args, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        model(**_plain(batch))
    handle.remove()
    _same(capture(model, [batch], ["block.1"])["block.1"], Moments.of(kept[0][:, 1:-1].reshape(-1, 16)))


@pytest.mark.parametrize("name", ["gpt2", "llama", "neox", "bert"])
def test_logits_are_the_models_logits(name, model_of):
    model, batch = model_of(name), _batch()
    with torch.no_grad():
        logits = model(**_plain(batch)).logits
    _same(capture(model, [batch], ["logits"])["logits"], Moments.of(logits[:, 1:-1].reshape(-1, 40)))


def test_encoder_and_decoder_have_their_own_positions(model_of):
    model = model_of("t5")
    both = sites(model)
    assert both[:5] == ["encoder.embed", "encoder.block.0", "encoder.block.1", "encoder.block.2", "encoder.final_norm"]
    assert both[5:] == [*(s.replace("encoder", "decoder") for s in both[:5]), "logits"]
    batch = _batch(length=9, padding=2) | _batch(length=6, seed=2, prefix="decoder_")
    with torch.no_grad():
        out = model(**_plain(batch), output_hidden_states=True)
    found = capture(model, [batch])
    assert {s: m.n for s, m in found.items()} == {s: 28 if s[0] == "e" else 16 for s in both[:-1]}
    for prefix, hidden, end in (("encoder", out.encoder_hidden_states, 8), ("decoder", out.decoder_hidden_states, 5)):
        for site, states in (("embed", hidden[0]), ("block.1", hidden[2]), ("final_norm", hidden[-1])):
            _same(found[f"{prefix}.{site}"], Moments.of(states[:, 1:end].reshape(-1, 16)))


def test_an_encoder_alone(model_of):
    config = transformers.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, **SMALL)
    assert sites(transformers.T5EncoderModel(config)) == ["embed", "block.0", "block.1", "final_norm"]


@pytest.mark.parametrize("name", BUILD)
def test_padding_changes_no_statistic(name, model_of):
    model = model_of(name)
    plain, padded = capture(model, [_batch()]), capture(model, [_batch(padding=5)])
    for site in plain:
        _same(plain[site], padded[site])
        assert padded[site].dropped == plain[site].dropped + 4 * 5


@pytest.mark.parametrize("name", BUILD)
def test_batches_merge_to_the_whole(name, model_of):
    model = model_of(name)
    batches = [_batch(rows=rows, seed=rows) for rows in (1, 2, 3)]
    whole = {key: torch.cat([b[key] for b in batches]) for key in batches[0]}
    one, many = capture(model, [whole]), capture(model, iter(batches))
    for site in one:
        _same(one[site], many[site])


def test_special_tokens_do_not_enter(model_of):
    model, batch = model_of("gpt2"), _batch(padding=3)
    content = capture(model, [batch], ["embed"])["embed"]
    assert (content.n, content.dropped) == (28, 20)
    # Moving the special embeddings far away must not be felt.
    with torch.no_grad():
        model.transformer.wte.weight[:2] += 1e3
    _same(capture(model, [batch], ["embed"])["embed"], content)
    unlabelled = batch | dict(special_tokens_mask=1 - batch["attention_mask"])
    assert capture(model, [unlabelled], ["embed"])["embed"].mean.abs().max() > 100


def test_a_batch_of_special_tokens_alone_is_counted_and_passed_over(model_of):
    model, batch = model_of("gpt2"), _batch()
    found = capture(model, [_batch(length=2), batch], ["block.0"])["block.0"]
    assert (found.n, found.dropped) == (28, 8 + 8)


def test_memory_is_flat_in_tokens(model_of):
    model = model_of("gpt2")
    sizes = []
    for n_batches in (10, 40):
        moments = capture(model, (_batch(seed=i) for i in range(n_batches)), ["block.0"])["block.0"]
        assert moments.n == 28 * n_batches and moments.rows is None
        sizes.append(sum(v.nbytes for v in vars(moments).values() if isinstance(v, torch.Tensor)))
    assert sizes[0] == sizes[1] < 16 * 16 * 8 + 16 * 8 * 8


def test_other_sums_are_told_where_each_state_stood(model_of):
    """From the front of the sequence as the model reads it: the special token at 0 has its place, though no count."""
    model, batches = model_of("llama"), [_batch(rows=2, padding=3), _batch(rows=2, seed=2)]
    found = capture_sums(model, batches, SinkMoments.of, ["embed", "block.1"])
    assert found["embed"].places.tolist() == found["block.1"].places.tolist() == [*range(1, 8)] * 4
    _same(found["block.1"].split().everything, capture(model, batches, ["block.1"])["block.1"])


def test_nothing_is_left_on_the_model(model_of):
    model = model_of("gpt2")
    capture(model, [_batch()])
    with pytest.raises(IsonumError):
        capture(model, [_batch(), {}])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(m.mean.requires_grad for m in capture(model, [_batch()]).values())


def test_a_sample_is_the_first_positions_that_count(model_of):
    model, batches = model_of("bert"), [_batch(rows=2, seed=1, padding=2), _batch(rows=2, seed=2)]
    sample = collect(model, batches, ["block.0", "embed"], limit=20)
    assert list(sample.states) == ["embed", "block.0"]
    ids = torch.cat([b["input_ids"][:, 1:8].flatten() for b in batches])
    assert torch.equal(sample.ids, ids[:20])
    whole = collect(model, batches, "block.0", limit=1000).states["block.0"]
    assert torch.equal(whole[:20], sample.states["block.0"])
    _same(Moments.of(whole), capture(model, batches, ["block.0"])["block.0"])


def test_one_row_per_type(model_of):
    sample = collect(model_of("gpt2"), [_batch(rows=20)], ["embed"], limit=10**6)
    rng = np.random.default_rng(0)
    rows = sample.one_per_type(10, rng)
    assert len(set(sample.ids[rows].tolist())) == len(rows) == 10
    assert set(sample.ids[sample.one_per_type(2, rng, among=[5, 6])].tolist()) == {5, 6}
    drawn = np.concatenate([sample.one_per_type(1, rng, among=[5]) for _ in range(200)])
    assert set(drawn) == set(np.flatnonzero(sample.ids == 5)), "each occurrence can be drawn"
    with pytest.raises(IsonumError, match="3 token types were asked for, got 2 to draw from"):
        sample.one_per_type(3, rng, among=[5, 6, 1000])


def test_a_full_sample_reads_no_further(model_of):
    read = []

    def batches():
        for i in range(100):
            read.append(i)
            yield _batch(seed=i)

    assert len(collect(model_of("gpt2"), batches(), ["embed"], limit=30).ids) == 30
    assert read == [0, 1]


def test_one_batch_arrays_and_lists_are_taken_as_they_are_meant(model_of):
    model, batch = model_of("gpt2"), _batch()
    expected = capture(model, [batch])["block.1"]
    for meant in (batch, [{k: v.numpy() for k, v in batch.items()}], {k: v.tolist() for k, v in batch.items()}):
        _same(capture(model, meant)["block.1"], expected)
    assert torch.equal(collect(model, batch, "embed", 5).ids, batch["input_ids"][0, 1:6])


def test_blocks_can_be_named_by_their_path(model_of):
    model, batch = model_of("gpt2"), _batch()
    named = capture(model, batch, blocks="transformer.h", norm="transformer.ln_f")
    for site, m in capture(model, batch).items():
        _same(named[site], m)
    assert torch.equal(
        collect(model, batch, "block.1", 9, blocks="transformer.h").states["block.1"],
        collect(model, batch, "block.1", 9).states["block.1"],
    )


def test_each_half_of_bart_has_its_own_positions():
    shape = dict(d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32)
    heads = dict(encoder_attention_heads=2, decoder_attention_heads=2, decoder_start_token_id=0)
    torch.manual_seed(0)
    model = (
        transformers.BartForConditionalGeneration(transformers.BartConfig(**shape, **heads, **SMALL)).eval().double()
    )
    batch = _batch(length=9, padding=2) | _batch(length=6, seed=2, prefix="decoder_")
    with torch.no_grad():
        out = model(**_plain(batch), output_hidden_states=True)
    found = capture(model, batch)
    for prefix, hidden, end in (("encoder", out.encoder_hidden_states, 8), ("decoder", out.decoder_hidden_states, 5)):
        for site, states in zip(("embed", "block.0", "block.1"), hidden, strict=True):
            _same(found[f"{prefix}.{site}"], Moments.of(states[:, 1:end].reshape(-1, 16)))
    with pytest.raises(IsonumError, match="needs decoder_input_ids and decoder_attention_mask .* got none and none"):
        capture(model, _batch())


def test_padding_changes_nothing_where_states_run_on(model_of):
    """A state space model carries what it has read: padding on the right comes after all that counts."""
    torch.manual_seed(0)
    config = transformers.MambaConfig(hidden_size=16, num_hidden_layers=2, state_size=4, **SMALL)
    model = transformers.MambaForCausalLM(config).eval().double()
    _same(*(capture(model, _batch(padding=padding))["block.1"] for padding in (0, 4)))


@pytest.mark.parametrize("trunk", ["gpt2", "t5", "patchtst"])
def test_of_a_series_of_numbers_every_position_counts(trunk):
    model, x = patched_model(Patched(trunk), 0).eval(), torch.randn(6, 128, generator=torch.Generator().manual_seed(0))
    found = capture(model, {"context": x})
    assert {site: m.n for site, m in found.items()} == {s: 6 if s == "read" else 6 * 8 for s in sites(model)}
    _same(found["read"], Moments.of(read(model, x).states["read"]))
    assert collect(model, {"context": x}, "read", 4).ids.tolist() == [-1] * 4


def test_a_direct_model_is_captured_from_its_past_values():
    model, x = (
        tiny_model(Tiny("patchtst"), 0).eval(),
        torch.randn(3, 128, 1, generator=torch.Generator().manual_seed(0)),
    )
    found = capture(model, [{"past_values": x}])
    with torch.no_grad():
        last = model.model(past_values=x).last_hidden_state
    _same(found["block.1"], Moments.of(last.reshape(-1, 32)))


def _without(key):
    return {k: v for k, v in _batch().items() if k != key}


def _left_padded():
    batch = _batch(padding=2)
    return {k: v.flip(1) for k, v in batch.items()}


@pytest.mark.parametrize(
    ("batches", "options", "words"),
    [
        (
            [_without("attention_mask")],
            {},
            "needs input_ids and attention_mask of equal shape .* and none. Padding and",
        ),
        ([_without("special_tokens_mask")], {}, "input_ids and special_tokens_mask of equal shape"),
        ([_batch() | dict(attention_mask=torch.ones(4, 8))], {}, r"got \(4, 9\) and \(4, 8\)"),
        ([{k: v[0] for k, v in _batch().items()}], {}, r"of equal shape \(B, T\), got \(9,\) and \(9,\)"),
        ([{k: v[:0] for k, v in _batch().items()}], {}, r"of equal shape \(B, T\), got \(0, 9\) and \(0, 9\)"),
        ([_left_padded()], {}, "padding on the left"),
        ([_batch(length=2)], {}, "got none: the masks left out all 8"),
        ([], {}, "at least one batch was expected, got none"),
        ([_batch()["input_ids"]], {}, "a batch was expected as a mapping .*, got Tensor. Make"),
        (["a text"], {}, "a batch was expected as a mapping .*, got str. Make"),
        (
            [_batch() | dict(input_ids=[[0, 5, 1], [0, 1]])],
            {},
            r"input_ids, .* were expected as numbers in rows of one length, got others \(expected sequence of length 3",
        ),
        ([_batch() | dict(input_ids="words")], {}, "expected as numbers in rows of one length, got others .*'str'"),
        ([_batch(length=65)], {}, "at most 64 positions were expected .* in 65 positions. .* let text_batches split"),
        (
            [_batch() | dict(input_ids=_batch()["input_ids"] + 30)],
            {},
            "ids below 40 .* got 30 to .* Take the tokenizer",
        ),
        ([_batch() | dict(input_ids=_batch()["input_ids"] - 1)], {}, "ids below 40 .* got -1 to"),
        ([_batch()], dict(sites=["block.3"]), r"got \['block.3'\]. It has: embed, block.0, .* logits"),
        ([_batch()], dict(sites=[]), "got none. It has"),
        (
            [_batch()],
            dict(blocks="transformer.layers"),
            "blocks were expected at transformer.layers, got GPT2LMHeadModel",
        ),
    ],
)
def test_bad_input(batches, options, words, model_of):
    with pytest.raises(IsonumError, match=words):
        capture(model_of("gpt2"), batches, **options)


def test_training_mode_is_refused(model_of):
    with pytest.raises(IsonumError, match="eval mode, got one in training mode"):
        capture(model_of("gpt2").train(), [_batch()])


def test_broken_states_name_their_site(model_of):
    model = model_of("gpt2")
    with torch.no_grad():
        model.transformer.h[1].mlp.c_proj.bias.fill_(float("nan"))
    with pytest.raises(IsonumError, match="at site 'block.1': rows must be finite"):
        capture(model, [_batch()])


@pytest.mark.parametrize(
    ("names", "limit", "words"),
    [(["encoder.embed", "decoder.embed"], 5, "sites of one stream"), (["encoder.embed"], 0, "and limit=0")],
)
def test_bad_samples(names, limit, words, model_of):
    with pytest.raises(IsonumError, match=words):
        collect(model_of("t5"), [_batch()], names, limit)


def test_positions_that_a_table_keeps_for_padding_are_not_there():
    shape = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = transformers.RobertaConfig(max_position_embeddings=34, **shape, **(SMALL | dict(pad_token_id=1)))
    model = transformers.RobertaModel(config, add_pooling_layer=False).eval()
    assert capture(model, _batch(length=32))["block.0"].n == 4 * 30
    with pytest.raises(IsonumError, match="at most 32 positions were expected"):
        capture(model, _batch(length=33))


def test_what_a_model_refuses_is_passed_on_in_one_sentence():
    model = tiny_model(Tiny("patchtst"), 0).eval()
    with pytest.raises(
        IsonumError, match="PatchTSTForPrediction was expected to read input_ids, .* Give it its own keys"
    ):
        capture(model, _batch())


def test_a_model_that_pads_by_itself_is_told():
    shape = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = transformers.LongformerConfig(attention_window=4, max_position_embeddings=66, **shape, **SMALL)
    model = transformers.LongformerModel(config, add_pooling_layer=False).eval()
    assert capture(model, _batch(length=8))["block.0"].n == 4 * 6
    with pytest.raises(IsonumError, match=r"one state a position, \(4, 9\), got \(4, 12, 16\): the model pads"):
        capture(model, _batch(length=9))
