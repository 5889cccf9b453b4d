"""Sampling against full forward passes without a cache, and against its own distribution."""

import numpy as np
import pytest
import torch
from scipy import stats

from common.plugin import sampling
from common.plugin.sampling import SamplingParams, sample

PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12], [13, 14], [15, 16, 17, 18]]


@pytest.fixture(params=[True, False], ids=["moe", "dense"])
def model(request, make):
    return make(moe=request.param)


def reference_log_probs(model, prompt, response, temperature=1.0, top_k=0, top_p=1.0):
    """Log-probabilities of every token at every position of `response`, [positions, vocabulary]."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    logits = logits.double().numpy() / temperature
    result = np.full_like(logits, -np.inf)
    for row, out in zip(logits, result, strict=True):
        ranked = np.argsort(-row)
        keep = ranked[: top_k or None]
        p = np.exp(row[keep] - row[keep].max())
        p /= p.sum()
        keep = keep[: int(np.searchsorted(np.cumsum(p), top_p - 1e-9)) + 1]
        out[keep] = row[keep] - np.logaddexp.reduce(row[keep])
    return result


def test_greedy_is_the_argmax_of_full_forward_passes(model):
    completions = sample(model, PROMPTS, SamplingParams(12, temperature=0))
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        ids = list(prompt)
        for _ in range(12):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert completion.token_ids == ids[len(prompt) :]
        assert completion.finish_reason == "length"
        full = reference_log_probs(model, prompt, completion.token_ids)
        expected = full[np.arange(12), completion.token_ids]
        np.testing.assert_allclose(completion.log_probs, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.6, 0, 1.0), (1.3, 5, 1.0), (1.0, 0, 0.7), (1.5, 8, 0.8)],
)
def test_log_probs_are_those_of_the_sampling_distribution(model, temperature, top_k, top_p):
    rule = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    params = [SamplingParams(10, seed=i, **rule) for i in range(len(PROMPTS))]
    for prompt, completion in zip(PROMPTS, sample(model, PROMPTS, params), strict=True):
        full = reference_log_probs(model, prompt, completion.token_ids, **rule)
        expected = full[np.arange(10), completion.token_ids]
        np.testing.assert_allclose(completion.log_probs, expected, atol=1e-4)


def test_a_seeded_row_does_not_depend_on_its_batch(model):
    """Neighbours of other lengths, budgets and rules, which also make the batch shrink."""
    params = SamplingParams(15, temperature=1.2, top_p=0.95, seed=11, stop_token_ids=(1,))
    alone = sample(model, [PROMPTS[0]], params)[0]
    rng = np.random.default_rng(0)
    for size in (2, 7, 20):
        prompts = [rng.integers(3, 24, rng.integers(1, 9)).tolist() for _ in range(size)]
        others = [
            SamplingParams(
                int(rng.integers(1, 25)),
                temperature=float(rng.choice([0, 0.7, 1.0])),
                top_k=int(rng.choice([0, 3])),
                top_p=float(rng.choice([1.0, 0.5])),
                seed=int(rng.integers(1000)),
                stop_token_ids=tuple(rng.integers(3, 24, rng.integers(0, 4)).tolist()),
            )
            for _ in range(size)
        ]
        where = int(rng.integers(size + 1))
        prompts.insert(where, PROMPTS[0])
        others.insert(where, params)
        row = sample(model, prompts, others)[where]
        assert row.token_ids == alone.token_ids
        np.testing.assert_allclose(row.log_probs, alone.log_probs, atol=1e-4)
        assert row.finish_reason == alone.finish_reason


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_dropping_finished_rows_changes_nothing(model, monkeypatch, threshold):
    params = [SamplingParams(3 * i + 1, seed=i, stop_token_ids=(i,)) for i in range(10)]
    prompts = [PROMPTS[i % 5] for i in range(10)]
    expected = sample(model, prompts, params)
    monkeypatch.setattr(sampling, "_COMPACT_BELOW", threshold)
    for a, b in zip(sample(model, prompts, params), expected, strict=True):
        assert (a.token_ids, a.finish_reason) == (b.token_ids, b.finish_reason)
        np.testing.assert_allclose(a.log_probs, b.log_probs, atol=1e-4)


def test_finished_rows_leave_the_batch(model, monkeypatch):
    """The forward passes see fewer and fewer rows."""
    rows, forward = [], model.forward

    def counting(*args, **kwargs):
        rows.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    sample(model, PROMPTS[:4], [SamplingParams(n, seed=n) for n in (1, 2, 4, 6)])
    assert rows == [4, 3, 2, 2, 1, 1]


def test_stop_tokens_end_a_response_and_belong_to_it(model):
    greedy = sample(model, PROMPTS, SamplingParams(12, temperature=0))
    stops = [c.token_ids[5] for c in greedy]
    params = [SamplingParams(12, temperature=0, stop_token_ids=(23, s)) for s in stops]
    for before, after, stop in zip(greedy, sample(model, PROMPTS, params), stops, strict=True):
        end = min(before.token_ids.index(s) for s in (23, stop) if s in before.token_ids)
        assert after.token_ids == before.token_ids[: end + 1]
        assert after.finish_reason == "stop"
        np.testing.assert_allclose(after.log_probs, before.log_probs[: end + 1], atol=1e-4)


def test_a_stop_token_in_the_last_place_is_a_stop(model):
    token = sample(model, PROMPTS[:1], SamplingParams(1, temperature=0))[0].token_ids[0]
    params = SamplingParams(1, temperature=0, stop_token_ids=(token,))
    assert sample(model, PROMPTS[:1], params)[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "rule", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.6}, {"top_k": 6, "top_p": 0.8}]
)
def test_tokens_follow_the_distribution(make, rule):
    """Chi-square over 4000 seeds of one prompt; nothing outside the truncated support."""
    model = make(moe=False, initializer_range=0.25)
    params = [SamplingParams(1, seed=i, **rule) for i in range(4000)]
    tokens = [c.token_ids[0] for c in sample(model, [PROMPTS[0]] * 4000, params, batch_size=4000)]
    expected = np.exp(reference_log_probs(model, PROMPTS[0], [0], **rule)[0]) * len(tokens)
    observed = np.bincount(tokens, minlength=24)
    assert not observed[expected == 0].any()
    rare = (expected > 0) & (expected < 5)
    pooled_observed = np.append(observed[expected >= 5], observed[rare].sum())
    pooled_expected = np.append(expected[expected >= 5], expected[rare].sum())
    some = pooled_expected > 0
    assert some.sum() > 2
    p = stats.chisquare(pooled_observed[some], pooled_expected[some]).pvalue
    assert p > 1e-3


def test_steps_of_a_row_are_independent(make):
    """Two steps of a model that ignores its input: the pairs follow the product distribution."""

    class Memoryless(torch.nn.Module):
        config = make(moe=False).config
        device = torch.device("cpu")

        def forward(self, input_ids, **kwargs):
            logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(len(input_ids), 1, 3)
            return type("Output", (), {"logits": logits})

    params = [SamplingParams(2, seed=i) for i in range(3000)]
    pairs = sample(Memoryless(), [[0]] * 3000, params, batch_size=3000)
    counts = np.zeros((3, 3))
    for completion in pairs:
        counts[tuple(completion.token_ids)] += 1
    p = np.array([0.5, 0.3, 0.2])
    assert stats.chisquare(counts.ravel(), (3000 * np.outer(p, p)).ravel()).pvalue > 1e-3


def test_the_largest_uniform_number_picks_a_possible_token():
    params = [SamplingParams(1, top_k=2)] * 50
    logits = torch.randn(50, 1000, generator=torch.Generator().manual_seed(0))
    logits[:, -500:] = -torch.inf
    rule = sampling._Rule.of(params, torch.device("cpu"))
    for uniform in (0.0, 1 - 2**-24):  # the ends of torch.rand's range
        token, log_prob = rule.draw(logits, torch.full((50,), uniform))
        assert torch.isfinite(log_prob).all()
        assert (logits.topk(2).indices == token.unsqueeze(-1)).any(-1).all()


def test_ties_at_the_kth_token_are_kept():
    rule = sampling._Rule.of([SamplingParams(1, top_k=2)], torch.device("cpu"))
    kept = rule._truncate(torch.tensor([[3.0, 1.0, 2.0, 2.0]]))
    assert kept.tolist() == [[3.0, -torch.inf, 2.0, 2.0]]


def test_rows_without_a_seed_differ(model):
    rows = sample(model, [PROMPTS[0]] * 4, SamplingParams(20))
    assert len({tuple(c.token_ids) for c in rows}) == 4


def test_batches_keep_the_order(model):
    params = [SamplingParams(5, seed=i) for i in range(5)]
    whole, split = (sample(model, PROMPTS, params, batch_size=b) for b in (5, 2))
    assert [c.token_ids for c in split] == [c.token_ids for c in whole]
    assert sample(model, [], []) == []


def test_user_errors(model):
    with pytest.raises(ValueError, match="got 5 prompts but 2 params"):
        sample(model, PROMPTS, [SamplingParams(1)] * 2)
    with pytest.raises(ValueError, match="one seed for all prompts"):
        sample(model, PROMPTS, SamplingParams(1, seed=0))
    with pytest.raises(ValueError, match="empty prompt"):
        sample(model, [[3], []], SamplingParams(1))
    for bad in ({"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0.0}, {"top_p": 1.1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            SamplingParams(**({"max_new_tokens": 1} | bad))
