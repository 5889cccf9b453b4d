"""A downloaded base model gets the recipe's chat template and stops where a turn ends."""

import json

import pytest

from common.stages.prepare_model import chat_template, remove_keys, set_chat
from tests.composed import composed


@pytest.fixture
def base(tmp_path):
    """The files of a base model's folder that name its tokens (Qwen3's, shortened)."""
    tokens = [(151643, "<|endoftext|>"), (151644, "<|im_start|>"), (151645, "<|im_end|>")]
    files = {
        "tokenizer.json": {"added_tokens": [{"id": i, "content": t} for i, t in tokens]},
        "tokenizer_config.json": {"eos_token": "<|endoftext|>", "chat_template": "{{ think }}"},
        "config.json": {"eos_token_id": 151643, "hidden_size": 2048},
        "generation_config.json": {"eos_token_id": 151643, "max_new_tokens": 2048},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_everything_stops_at_the_end_of_a_turn(base):
    template = chat_template(composed("gspo_moe", "node8", "gspo")).read_text()
    for _ in range(2):  # a download that was interrupted afterwards is set again
        set_chat(base, template, "<|im_end|>")
        assert (base / "chat_template.jinja").read_text() == template
        assert read(base, "tokenizer_config.json") == {"eos_token": "<|im_end|>"}
        assert read(base, "config.json") == {"eos_token_id": 151645, "hidden_size": 2048}
        assert read(base, "generation_config.json")["eos_token_id"] == [151645, 151643]


def test_keys_are_taken_out_of_the_configuration(base):
    for _ in range(2):
        remove_keys(base / "config.json", ["hidden_size", "dual_chunk_attention_config"])
        assert read(base, "config.json") == {"eos_token_id": 151643}


def test_a_token_that_the_tokenizer_lacks_is_refused(base):
    with pytest.raises(ValueError, match="no token '<eot>'.*im_end"):
        set_chat(base, "", "<eot>")
    assert read(base, "config.json")["eos_token_id"] == 151643
