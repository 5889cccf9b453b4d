"""Batched sampling from a transformers language model, with a KV cache and one seed per row."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from common.plugin.routing import Routing

# A quarter of the rows done: dropping them then copies each cache entry a bounded number of times.
_COMPACT_BELOW = 0.75


@dataclass(frozen=True)
class SamplingParams:
    """How to continue one prompt.

    Attributes:
        max_new_tokens: Longest response, in tokens; at least 1.
        temperature: Divides the logits; 0 is greedy, and ignores `top_k` and `top_p`.
        top_k: Keep the k most likely tokens, and those as likely as the k-th; 0 or less keeps all.
        top_p: Then keep the fewest most likely tokens whose probabilities sum to `top_p` or more.
        seed: Seed of this row's random numbers; None draws a fresh one.
        stop_token_ids: Tokens that end the response; they belong to it.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (greedy) or above, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}.")


@dataclass(frozen=True)
class Completion:
    """One response.

    Attributes:
        token_ids: Sampled tokens, with the stop token if there is one.
        log_probs: Of each token under the distribution it was drawn from, that is after
            temperature, top-k and top-p (vLLM's `processed_logprobs`); for a greedy row, under the
            model's own distribution.
        finish_reason: "stop" or "length".
        routes: Experts of the prompt's and the response's tokens but the last, which the model was
            never fed; int16 [tokens - 1, layers, top-k], or None when they were not asked for.
    """

    token_ids: list[int]
    log_probs: list[float]
    finish_reason: str
    routes: torch.Tensor | None = field(default=None, compare=False)


def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    params: SamplingParams | Sequence[SamplingParams],
    batch_size: int = 256,
    routing: Routing | None = None,
) -> list[Completion]:
    """Continue each prompt once, `batch_size` prompts at a time.

    A row with a seed yields the same tokens in any batch, as far as floating point allows: its
    uniform numbers are drawn up front from its own generator, and one of them picks each token
    through the inverse of the cumulative distribution.

    Args:
        model: A transformers causal language model; the caller has set `eval()`.
        prompts: Token ids, not empty.
        params: One for all prompts (without a seed, which all would share), or one for each.
        routing: Of `model`; given, the completions hold their routes.

    Returns:
        Completions in the order of `prompts`.

    Raises:
        ValueError: an empty prompt, one seed for several prompts, or a wrong number of `params`.
    """
    if isinstance(params, SamplingParams):
        if params.seed is not None and len(prompts) > 1:
            raise ValueError("sample() got one seed for all prompts; give each its own params.")
        params = [params] * len(prompts)
    rows = list(params)
    if len(rows) != len(prompts):
        raise ValueError(f"sample() got {len(prompts)} prompts but {len(rows)} params.")
    if any(len(prompt) == 0 for prompt in prompts):
        raise ValueError("sample() got an empty prompt; give it at least one token.")
    # prompts of like length together: less padding
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    done: dict[int, Completion] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        done |= zip(
            batch,
            _sample_batch(model, [prompts[i] for i in batch], [rows[i] for i in batch], routing),
            strict=True,
        )
    return [done[i] for i in range(len(prompts))]


@torch.inference_mode()
def _sample_batch(
    model: Any,
    prompts: list[Sequence[int]],
    params: list[SamplingParams],
    routing: Routing | None,
) -> list[Completion]:
    device, n = model.device, len(prompts)
    width, steps = max(map(len, prompts)), max(p.max_new_tokens for p in params)
    input_ids = torch.zeros(n, width, dtype=torch.long)
    mask = torch.zeros(n, width + steps, dtype=torch.long)
    uniforms = torch.zeros(n, steps)
    stops = torch.full((n, max(len(p.stop_token_ids) for p in params)), -1)
    for i, (prompt, p) in enumerate(zip(prompts, params, strict=True)):
        input_ids[i, width - len(prompt) :] = torch.as_tensor(prompt)
        mask[i, width - len(prompt) :] = 1
        uniforms[i, : p.max_new_tokens] = torch.rand(p.max_new_tokens, generator=_generator(p.seed))
        stops[i, : len(p.stop_token_ids)] = torch.tensor(p.stop_token_ids)
    input_ids, mask, uniforms, stops = (x.to(device) for x in (input_ids, mask, uniforms, stops))
    budget = torch.tensor([p.max_new_tokens for p in params], device=device)
    rule = _Rule.of(params, device)

    tokens = torch.zeros(n, steps, dtype=torch.long, device=device)
    log_probs = torch.zeros(n, steps, device=device)
    routes = None
    if routing is not None:
        shape = (n, width + steps, routing.layers, routing.top_k)
        routes = torch.zeros(shape, dtype=torch.int16, device=device)
    lengths = budget.clone()
    stopped = torch.zeros(n, dtype=torch.bool, device=device)
    rows = torch.arange(n, device=device)  # the original row of each row in the running batch
    running = torch.ones_like(stopped)
    position = (mask[:, :width].cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    for step in range(steps):
        if routing is not None:
            routing.arm()
        logits = model(
            input_ids=input_ids,
            attention_mask=mask[:, : width + step],
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        if routing is not None and routes is not None:
            fed = routing.chosen().unflatten(0, input_ids.shape)
            end = width + step
            routes[rows, end - fed.shape[1] : end] = fed
            routing.disarm()
        token, log_prob = rule.draw(logits.float(), uniforms[rows, step])
        # a row that is done writes on behind its own length; nothing reads that
        tokens[rows, step], log_probs[rows, step] = token, log_prob
        hit = running & (token.unsqueeze(-1) == stops[rows]).any(-1)
        lengths[rows[hit]] = step + 1
        stopped[rows[hit]] = True
        running = running & ~hit & (budget[rows] > step + 1)
        alive = int(running.sum())
        if alive == 0:
            break
        input_ids, position = token.unsqueeze(-1), position[:, -1:] + 1
        if alive <= _COMPACT_BELOW * len(rows):
            cache.batch_select_indices(running)
            rule = rule.select(running)
            rows, mask, input_ids, position, running = (
                x[running] for x in (rows, mask, input_ids, position, running)
            )
        mask[:, width + step] = 1

    def routes_of(i: int) -> torch.Tensor | None:
        if routes is None:
            return None
        start, end = width - len(prompts[i]), width + int(lengths[i]) - 1
        return routes[i, start:end].cpu()

    return [
        Completion(t[:k], lp[:k], "stop" if s else "length", routes_of(i))
        for i, (t, lp, k, s) in enumerate(
            zip(
                tokens.tolist(), log_probs.tolist(), lengths.tolist(), stopped.tolist(), strict=True
            )
        )
    ]


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


@dataclass(frozen=True)
class _Rule:
    """Temperature, top-k and top-p of the rows of a batch, each of shape [rows, 1]."""

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor

    @classmethod
    def of(cls, params: list[SamplingParams], device: torch.device) -> "_Rule":
        def column(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, device=device).unsqueeze(-1)

        return cls(
            column([float(p.temperature) for p in params]),
            column([p.top_k if p.temperature > 0 else 0 for p in params]),
            column([float(p.top_p) if p.temperature > 0 else 1.0 for p in params]),
        )

    def select(self, keep: torch.Tensor) -> "_Rule":
        return _Rule(self.temperature[keep], self.top_k[keep], self.top_p[keep])

    def draw(
        self, logits: torch.Tensor, uniform: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pick one token per row, from `logits` [rows, vocabulary] and `uniform` [rows] in [0, 1).

        Returns:
            Token ids and their log-probabilities, each of shape [rows].
        """
        greedy = self.temperature == 0
        logits = self._truncate(logits / torch.where(greedy, 1.0, self.temperature))
        log_probs = logits.log_softmax(-1)
        cdf = log_probs.exp().cumsum(-1)
        # scaled by the last sum, which rounding keeps from being 1: a token of probability 0, whose
        # sum equals its neighbour's, can then never be picked
        drawn = torch.searchsorted(cdf, uniform.unsqueeze(-1) * cdf[:, -1:], right=True)
        token = torch.where(greedy, logits.argmax(-1, keepdim=True), drawn)
        return token.squeeze(-1), log_probs.gather(-1, token).squeeze(-1)

    def _truncate(self, logits: torch.Tensor) -> torch.Tensor:
        """Set to -inf what top-k and then top-p leave out, with vLLM's rules for ties."""
        vocabulary = logits.size(-1)
        limited = (self.top_k > 0) & (self.top_k < vocabulary)
        if not limited.any() and not (self.top_p < 1).any():
            return logits
        ranked, order = logits.sort(stable=True, dim=-1, descending=True)
        kth = ranked.gather(-1, self.top_k.clamp(1, vocabulary) - 1)
        ranked = ranked.masked_fill(limited & (ranked < kth), -torch.inf)
        probs = ranked.softmax(-1)
        # a token goes if the more likely ones reach top_p without it
        excess = (probs.cumsum(-1) - probs >= self.top_p) & (self.top_p < 1)
        excess[:, 0] = False
        return torch.empty_like(logits).scatter_(-1, order, ranked.masked_fill(excess, -torch.inf))
