"""Data sets for verl's SFT trainer (`data.custom_cls`) whose loss covers chosen parts of a text.

Rows (`data/warmup_texts.py`) hold `prompt` (chat messages), `markup` (whether the model's chat
template writes the prompt; else its text stands alone, after the token that begins a text),
`reasoning` and `answer`. The class says what is learnt:

- `WholeText`: every token but the first, prompt included.
- `AnswerOnly`: the answer, and the token that ends the text.
- `ReasoningAndAnswer`: all that follows the prompt.
"""

from typing import Any

import pandas as pd
import torch
from torch.utils.data import Dataset


class _Parts(Dataset):
    """Token ids and loss masks of all rows, in the layout of verl's `pad_mode=no_padding`.

    A text is cut after `data.max_length` tokens, as TRL's SFTTrainer does. Rows of which nothing is
    left to learn are left out, since a batch of such rows alone would divide by zero.

    Args: those that verl gives (0.9.1, trainer/sft_trainer.py, `create_sft_dataset`).
    Raises: ValueError where no row is left, or for another padding.
    """

    learnt: tuple[bool, bool, bool]  # prompt, reasoning, answer

    def __init__(
        self,
        parquet_files: str | list[str],
        tokenizer: Any,
        config: Any,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        if config.pad_mode != "no_padding":
            raise ValueError(f"data.pad_mode={config.pad_mode}: set no_padding")
        files = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        rows = [row for file in files for row in pd.read_parquet(file).to_dict("records")]
        rows = rows if max_samples < 0 else rows[:max_samples]
        encoded = [self._encode(row, tokenizer, config.max_length) for row in rows]
        self.rows = [row for row in encoded if row["loss_mask"].any()]
        print(f"{len(rows) - len(self.rows)} of {len(rows)} rows have nothing to learn")
        if not self.rows:
            raise ValueError(
                f"{files}: with data.max_length={config.max_length} no row has anything to learn"
            )

    def _encode(self, row: dict[str, Any], tokenizer: Any, limit: int) -> dict[str, torch.Tensor]:
        messages = list(row["prompt"])
        if row["markup"]:
            prompt = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
        else:
            prompt = (tokenizer.bos_token or "") + messages[-1]["content"]
        parts = [prompt, row["reasoning"], row["answer"] + tokenizer.eos_token]
        text = "".join(parts)
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [len(parts[0]), len(parts[0]) + len(parts[1]), len(text)]
        # a token belongs to the part that it begins in
        mask = [
            self.learnt[next(i for i, end in enumerate(ends) if begin < end)]
            for begin, _ in encoded["offset_mapping"]
        ]
        mask[0] = False  # nothing predicts it
        ids = torch.tensor(encoded["input_ids"][:limit])
        return {
            "input_ids": ids,
            "position_ids": torch.arange(len(ids)),
            "loss_mask": torch.tensor(mask[:limit], dtype=torch.long),
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        return self.rows[item]


class WholeText(_Parts):
    learnt = (True, True, True)


class AnswerOnly(_Parts):
    learnt = (False, False, True)


class ReasoningAndAnswer(_Parts):
    learnt = (False, True, True)
