"""A reward model behind HTTP: scores of texts, as a Bradley-Terry model gives them, unsquashed.

Any model that transformers loads as `AutoModelForSequenceClassification`; its labels are the heads.
`POST /classify` is vLLM's: `{"input": text or texts}` gives `{"data": [{"index", "label", "probs",
"num_classes"}]}`, in which `probs` are the raw numbers of the heads or, where the server has
weights for them, their weighted sum; `heads` are always all of them.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from common.services.reward import aggregate
from common.services.server import Bad, Options, batches


class RewardServer:
    kind, path, merges = "reward", "/classify", True

    def __init__(self, options: Options) -> None:
        """Load model and tokenizer. Raises: OSError or ValueError where transformers cannot, or
        for other than one weight for each head."""
        self.options = options
        self.tokenizer = AutoTokenizer.from_pretrained(options.model, trust_remote_code=False)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            options.model, dtype=getattr(torch, options.dtype), trust_remote_code=False
        )
        self.model.to(options.device).eval()
        self.heads = int(self.model.config.num_labels)
        if options.weights is not None and len(options.weights) != self.heads:
            raise ValueError(f"{len(options.weights)} weights for {self.heads} heads")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # by it the model finds the last token of a text
        self.model.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        self.model.config.pad_token_id = self.tokenizer.pad_token_id
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self.longest = int(limit or 1 << 20)

    def describe(self) -> dict[str, Any]:
        return {"heads": self.heads, "weights": self.options.weights, "longest": self.longest}

    def read(self, body: Any) -> list[list[int]]:
        texts = body.get("input") if isinstance(body, dict) else None
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise Bad("input: a text or a list of texts is wanted")
        if not texts:
            return []
        special = bool(body.get("add_special_tokens", True))
        # a text may hold what no encoder takes: half of a pair of surrogates
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        items = self.tokenizer(texts, add_special_tokens=special)["input_ids"]
        for number, ids in enumerate(items):
            if not ids:
                raise Bad(f"input: text {number} has no token")
            if len(ids) > self.longest and body.get("truncate_prompt_tokens") != -1:
                raise Bad(f"input: text {number} has {len(ids)} tokens, more than {self.longest}")
        return [ids[-self.longest :] for ids in items]

    @torch.inference_mode()
    def compute(self, items: list[list[int]]) -> list[list[float]]:
        found: list[list[float]] = [[] for _ in items]
        for group in batches(list(map(len, items)), self.options.batch, self.options.tokens):
            padded = self.tokenizer.pad(
                {"input_ids": [items[i] for i in group]}, return_tensors="pt"
            ).to(self.options.device)
            rows = self.model(**padded).logits.float().cpu().tolist()
            for i, row in zip(group, rows, strict=True):
                found[i] = row
        return found

    def write(self, items: list[Any], answers: list[list[float]]) -> dict[str, Any]:
        data = []
        for index, heads in enumerate(answers):
            weights = self.options.weights
            probs = heads if weights is None else [aggregate(heads, weights)]
            told = {"index": index, "label": None, "probs": probs, "num_classes": len(probs)}
            data.append(told | {"heads": heads})
        return {"object": "list", "data": data}
