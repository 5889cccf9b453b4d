"""A reference model behind HTTP: log-probabilities of given tokens.

`POST /v1/completions` is vLLM's, without the completion: `{"prompt": [token ids, ...],
"prompt_logprobs": 0, "temperature"}` gives `{"choices": [{"index", "prompt_logprobs": [null,
{token id: {"logprob"}}, ...]}]}`. Other than vLLM's, the logits are divided by the temperature of
the request, and the answer says so (`prompt_logprobs_temperature`).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from common.services.server import Bad, Options, batches

Item = tuple[list[int], float]  # token ids, temperature


class ReferenceServer:
    # each request for itself: equal requests get equal numbers, to the last bit
    kind, path, merges = "reference", "/v1/completions", False

    def __init__(self, options: Options) -> None:
        """Load the model. Raises: OSError or ValueError where transformers cannot."""
        self.options = options
        self.model = AutoModelForCausalLM.from_pretrained(
            options.model, dtype=getattr(torch, options.dtype), trust_remote_code=False
        )
        self.model.to(options.device).eval()  # type: ignore[arg-type]
        config = self.model.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        self.longest = int(getattr(config, "max_position_embeddings", None) or 1 << 20)

    def describe(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary, "longest": self.longest}

    def read(self, body: Any) -> list[Item]:
        if not isinstance(body, dict) or body.get("prompt_logprobs") != 0:
            raise Bad("this server gives log-probabilities only: prompt_logprobs=0 is wanted")
        prompts, temperature = body.get("prompt"), body.get("temperature", 1.0)
        if not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
            raise Bad(f"temperature={temperature!r}: a number above 0 is wanted")
        if isinstance(prompts, list) and prompts and isinstance(prompts[0], int):
            prompts = [prompts]
        if not isinstance(prompts, list):
            raise Bad("prompt: token ids, or a list of token ids, are wanted")
        for number, ids in enumerate(prompts):
            if not isinstance(ids, list) or not ids:
                raise Bad(f"prompt {number}: a list of token ids is wanted")
            if not all(isinstance(i, int) and 0 <= i < self.vocabulary for i in ids):
                raise Bad(f"prompt {number}: a token id not from 0 to {self.vocabulary - 1}")
            if len(ids) > self.longest:
                raise Bad(f"prompt {number}: {len(ids)} tokens, more than {self.longest}")
        return [(ids, float(temperature)) for ids in prompts]

    @torch.inference_mode()
    def compute(self, items: list[Item]) -> list[list[float]]:
        found: list[list[float]] = [[] for _ in items]
        lengths = [len(ids) for ids, _ in items]
        for group in batches(lengths, self.options.batch, self.options.tokens):
            rows = [torch.tensor(items[i][0]) for i in group]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # right: with 0
            mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
            logits = self.model(
                input_ids=ids.to(self.options.device),
                attention_mask=mask.to(self.options.device, torch.long),
                use_cache=False,
            ).logits[:, :-1]
            for i, row, scores in zip(group, rows, logits, strict=True):
                scores = scores[: len(row) - 1].float() / items[i][1]
                wanted = row[1:, None].to(scores.device)
                found[i] = scores.log_softmax(-1).gather(-1, wanted)[:, 0].tolist()
        return found

    def write(self, items: list[Item], answers: list[list[float]]) -> dict[str, Any]:
        choices = []
        for index, ((ids, _), values) in enumerate(zip(items, answers, strict=True)):
            pairs = zip(ids[1:], values, strict=True)
            told = [None, *({str(i): {"logprob": value}} for i, value in pairs)]
            choices.append(
                {"index": index, "text": "", "finish_reason": "length", "prompt_logprobs": told}
            )
        temperature = items[0][1] if items else 1.0
        return {"choices": choices, "prompt_logprobs_temperature": temperature}
