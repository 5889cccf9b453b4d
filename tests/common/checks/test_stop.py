"""Everything stops where the chat template ends a turn: the template, the cold start, the model."""

import pytest

from common.checks.stop import turn_end
from common.config import recipe_folder
from common.stages.prepare_model import character_tokenizer
from data.parquet import write_parquet

GSPO = recipe_folder("gspo_moe")
CHATML = (GSPO / "chatml.jinja").read_text()


def test_what_ends_a_turn():
    assert turn_end(CHATML, "<|im_end|>") == "<|im_end|>\n"
    assert turn_end((GSPO / "micro_template.jinja").read_text(), "<eos>").strip() == "<eos>"


def test_a_broken_template_is_one_line():
    with pytest.raises(ValueError, match="cannot be rendered"):
        turn_end("{% for %}", "<eos>")


@pytest.mark.component
def test_the_cold_start_teaches_the_token_at_which_the_sampler_stops(tmp_path):
    """verl's own SFT data set on ChatML: the trained tokens are the answer and its end of turn."""
    from omegaconf import OmegaConf
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    tokenizer = character_tokenizer("userasitn\n?0123456789", CHATML)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token = "<|im_end|>"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "42"}]
    write_parquet(tmp_path / "sft.parquet", [{"messages": messages}])
    config = OmegaConf.create({"max_length": 64, "truncation": "error", "pad_mode": "no_padding"})
    (row,) = MultiTurnSFTDataset(str(tmp_path / "sft.parquet"), tokenizer, config)
    trained = [int(t) for t, m in zip(row["input_ids"], row["loss_mask"], strict=True) if m]
    assert tokenizer.convert_ids_to_tokens(trained) == ["4", "2", "<|im_end|>", "\n"]
    assert tokenizer.eos_token_id in trained
