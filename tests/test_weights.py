"""Folders of weights as people have them: each fault is one sentence with its cause and its cure."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from isonum_core.errors import IsonumError
from isonum_core.networks.models import load_checkpoint
from isonum_core.networks.weights import hashed, whole_files

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"


@pytest.fixture(scope="module")
def tiny():
    shape = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    torch.manual_seed(0)
    return transformers.BertModel(transformers.BertConfig(vocab_size=20, **shape))


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def good(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    tiny.save_pretrained(folder)
    return (folder / "model.safetensors").read_bytes()


def configured(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder, words):
    with pytest.raises(IsonumError, match=words) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named_and_pulled(folder, name):
    (folder / name).write_text(POINTER)
    refused(folder, f"{name} was expected to hold data, got a Git LFS pointer, .* Run git lfs pull")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5", "model.gguf"])
def test_a_pointer_of_another_format_is_a_pointer_where_nothing_better_is_there(folder, name):
    (folder / name).write_text(POINTER)
    assert load_checkpoint(folder).model.config.hidden_size == 8
    (folder / "model.safetensors").unlink()
    refused(folder, f"{name} was expected to hold data, got a Git LFS pointer, .* Run git lfs pull .*convert it")


@pytest.mark.parametrize("left", [0, 4, 8, 100, 0.5, -1])
def test_a_cut_file_says_how_much_is_there(folder, left):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    data = data[: int(left * len(data)) if isinstance(left, float) else left]
    path.write_bytes(data)
    refused(folder, rf"expected in model.safetensors, got {len(data)} bytes that are cut .*\. Fetch it again")


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>not found</html>", b"\3\0\0\0\0\0\0\0[1]", b"\1\0\0\0\0\0\0\0{"]
)
def test_another_file_under_the_name_is_no_safetensors(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, f"expected in model.safetensors, got {len(content)} bytes that are cut or something else .*header")


def test_a_missing_shard_is_named(tiny, tmp_path):
    tiny.save_pretrained(tmp_path, max_shard_size="2KB")
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    refused(tmp_path, "3 files of weights were expected, as .*index.json has it, got all but model-00002-of-00003")


def test_a_changed_vocabulary_is_told_with_both_shapes(folder):
    configured(folder, vocab_size=25)
    refused(folder, r"embeddings.word_embeddings.weight was expected as \(25, 8\), as config.json .* got \(20, 8\)")


@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "GPT2Model"])
def test_blocks_that_the_configuration_leaves_out_are_told(tmp_path, kind):
    """transformers drops them without a word: another model, with a shallower last state."""
    config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=20, tie_word_embeddings=False)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    kind = getattr(transformers, kind)
    assert load_checkpoint(tmp_path, model_class=kind).model.config.n_layer == 2  # a head left out is no block
    configured(tmp_path, n_layer=1)
    with pytest.raises(IsonumError, match="blocks as config.json .* got 11 weights of more, as transformer.h.1"):
        load_checkpoint(tmp_path, model_class=kind)


def test_parts_without_an_index_are_told(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    refused(folder, "model.safetensors or an index was expected in .*, got model-00001-of-00002.safetensors. Fetch")


def test_an_adapter_wants_its_base_model(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "config.json").rename(folder / "adapter_config.json")
    refused(folder, "got an adapter without its base model. Load both with peft, call merge_and_unload")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5", "model.Q4.gguf", "consolidated.safetensors"])
def test_other_layouts_are_named(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    refused(folder, f"got {name}. Other weight formats can run code when read: convert them")


def test_a_model_that_lies_one_folder_further_in_is_found(folder):
    inside = folder / "0_Transformer"
    inside.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(inside / name)
    refused(folder, "got neither. Give 0_Transformer, the folder inside it")
    assert load_checkpoint(inside).model.config.hidden_size == 8


def test_names_of_old_checkpoints_are_read_as_they_are_meant(folder, tiny):
    path = folder / "model.safetensors"
    old = {
        k.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): w for k, w in load_file(path).items()
    }
    save_file(old, path, metadata={"format": "pt"})
    loaded = load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in tiny.state_dict().items())


@pytest.mark.parametrize("content", ["", '{"model_type": ', "[]"])
def test_a_configuration_that_is_none_is_told(folder, content):
    (folder / "config.json").write_text(content)
    refused(folder, "a JSON object was expected in config.json, got something else. Fetch it again")


@pytest.mark.parametrize(
    "change",
    [dict(model_type="nosuch"), dict(model_type="nosuch", auto_map={"AutoModel": "x.Y"}), dict(hidden_act="nosuch")],
)
def test_what_transformers_cannot_read_is_passed_on_as_one_sentence(folder, change):
    configured(folder, **change)
    refused(folder, rf"a checkpoint that transformers {transformers.__version__} can read .*nosuch")


def test_a_broken_tokenizer_is_told(folder):
    (folder / "tokenizer.json").write_text("{")
    refused(folder, "can read was expected in .* the tokenizer's files")


def test_hashes_are_those_of_the_files(folder):
    files = whole_files(folder)
    found = hashed(files, None)
    assert list(found) == ["model.safetensors"] and hashed(files, found) == hashed(files, *found.values()) == found


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_file_that_was_changed_anywhere_is_whole_or_refused(folder, good, data):
    """Cut, overwritten or lengthened: a sentence or the list of files, never a traceback of something else."""
    path = folder / "model.safetensors"
    start = data.draw(st.integers(0, 3000))
    path.write_bytes(
        good[:start] + data.draw(st.binary(max_size=12)) + good[data.draw(st.integers(start, len(good))) :]
    )
    try:
        assert whole_files(folder) == [path]
    except IsonumError as error:
        assert "Fetch it again" in str(error)
