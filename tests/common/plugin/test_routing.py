"""Recording and forcing the routes of real transformers models."""

import pytest
import torch
import transformers

from common.plugin.routing import Routing, find_routers
from common.plugin.sampling import SamplingParams, sample

SIZES = {
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
EXPERTS = 6
ARCHITECTURES = {
    "Qwen3Moe": {
        "num_experts": EXPERTS,
        "moe_intermediate_size": 8,
        "head_dim": 8,
        "norm_topk_prob": True,
    },
    "Qwen2Moe": {
        "num_experts": EXPERTS,
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
    },
    "Olmoe": {"num_experts": EXPERTS},
    "Mixtral": {"num_local_experts": EXPERTS},
}
IDS = torch.arange(2, 22).reshape(2, 10)


def build(name, **overrides):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(SIZES | ARCHITECTURES[name] | overrides))
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    for router in find_routers(model):  # Mixtral leaves them empty
        torch.nn.init.normal_(router.weight, std=0.5)
    return model


def gradients(model, ids=IDS):
    model.zero_grad()
    logits = model(ids).logits
    logits.log_softmax(-1)[..., 3].sum().backward()
    return logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters()}


def other_routes(seed=1):
    """Random routes: two distinct experts per row and layer, in any order."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(EXPERTS, generator=generator)[:2] for _ in range(IDS.numel() * 3)]
    return torch.stack(rows).reshape(IDS.numel(), 3, 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("flipped", [False, True])
def test_equal_routes_change_no_bit_of_logits_and_gradients(name, flipped):
    model = build(name)
    routing = Routing(model)
    routing.arm()
    logits, native = gradients(model)
    chosen = routing.chosen()
    assert chosen.dtype == torch.int16 and chosen.shape == (20, 3, 2)
    # the order in which the rollout lists a token's experts must not matter
    routing.arm(chosen.flip(-1) if flipped else chosen, force=True)
    same, replayed = gradients(model)
    assert torch.equal(logits, same)
    assert all(torch.equal(native[n], replayed[n]) for n in native)
    changed, has_route = routing.changed()
    assert changed.sum() == 0 and has_route.all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_forced_experts_are_the_ones_used_and_the_router_learns(name):
    model = build(name)
    routing, used, targets = Routing(model), [], other_routes()
    experts = [m for n, m in model.named_modules() if n.endswith("mlp.experts")]
    assert len(experts) == 3
    for block in experts:
        block.register_forward_pre_hook(lambda _, args: used.append((args[1], args[2])))
    routing.arm(targets, force=True)
    _, grads = gradients(model)
    for layer, (index, weights) in enumerate(used):
        assert torch.equal(index.sort(-1).values, targets[:, layer].sort(-1).values)
        # those two do not normalise by default
        normalised = name not in ("Qwen2Moe", "Olmoe")
        assert torch.allclose(weights.sum(-1), torch.ones(20)) == normalised
    for layer in range(3):
        (gradient,) = [g for n, g in grads.items() if n.endswith(f"layers.{layer}.mlp.gate.weight")]
        assert gradient.abs().sum() > 0
    # compared with the routers' own choice: brute force
    changed, _ = routing.changed()
    chosen = routing.chosen().tolist()
    for row, layers in enumerate(targets.tolist()):
        for layer, wanted in enumerate(layers):
            assert changed[row, layer] == len(set(wanted) - set(chosen[row][layer]))
    assert changed.sum() > 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_scores_are_the_softmax_at_the_forced_experts(name):
    model = build(name)
    router = find_routers(model)[0]
    states = torch.randn(20, 16)
    logits, scores, experts = router(states)
    routing, targets = Routing(model), other_routes()
    routing.arm(targets, force=True)
    _, forced, index = router(states)
    expected = logits.double().softmax(-1).gather(-1, index)
    if name in ("Qwen3Moe", "Mixtral"):
        expected = expected / expected.sum(-1, keepdim=True)
    assert torch.allclose(forced.double(), expected, atol=1e-6)
    assert forced.dtype == scores.dtype and index.shape == experts.shape


def test_checkpointing_records_once_and_recomputes_with_the_forced_experts():
    plain, routes = build("Qwen3Moe"), other_routes()
    routing = Routing(plain)
    routing.arm(routes, force=True)
    logits, expected = gradients(plain)
    first = routing.chosen()

    model = build("Qwen3Moe")
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    routing = Routing(model)
    calls = []
    for router in find_routers(model):
        router.register_forward_hook(lambda *_: calls.append(1))
    routing.arm(routes, force=True)
    again, found = gradients(model)
    assert len(calls) == 6  # each of the three layers twice
    assert torch.equal(logits, again) and torch.equal(first, routing.chosen())
    assert all(torch.allclose(expected[n], found[n], atol=1e-6) for n in expected)


def test_rows_without_a_route_are_routed_by_the_model():
    model = build("Qwen3Moe")
    routing = Routing(model)
    routing.arm()
    model(IDS)
    native = routing.chosen()
    routes = other_routes()
    routes[5] = 0  # as verl pads them
    routes[6] = -1
    routing.arm(routes, force=True)
    model(IDS)
    changed, has_route = routing.changed()
    assert not has_route[5:7].any() and has_route[:5].all() and has_route[7:].all()
    assert changed[5:7].sum() == 0
    # in the first layer no earlier forced layer has moved the states
    assert torch.equal(routing.chosen()[:, 0], native[:, 0])


def test_disarmed_routers_are_untouched():
    model = build("Qwen3Moe")
    before = model(IDS).logits
    routing = Routing(model)
    routing.arm(other_routes(), force=True)
    assert not torch.equal(model(IDS).logits, before)
    routing.disarm()
    assert torch.equal(model(IDS).logits, before)


def test_unknown_routers_dense_models_and_single_experts_are_refused_by_name():
    deepseek = transformers.DeepseekV3Config(
        **{k: v for k, v in SIZES.items() if k != "num_experts_per_tok"},
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=0,
        moe_intermediate_size=8,
        q_lora_rank=8,
        kv_lora_rank=8,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    )
    with pytest.raises(ValueError, match="does not know the router DeepseekV3TopkRouter"):
        Routing(transformers.DeepseekV3ForCausalLM(deepseek))
    dense = {k: v for k, v in SIZES.items() if k != "num_experts_per_tok"}
    with pytest.raises(ValueError, match="Qwen3ForCausalLM has no experts"):
        Routing(transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**dense, head_dim=8)))
    single = Routing(build("Qwen3Moe", num_experts_per_tok=1))
    with pytest.raises(ValueError, match="num_experts_per_tok of 2 or more"):
        single.arm(torch.zeros(20, 3, 1), force=True)
    with pytest.raises(ValueError, match=r"\[2, 2\] do not fit a model with \[3, 2\]"):
        Routing(build("Qwen3Moe")).arm(torch.zeros(20, 2, 2))


def test_a_mixed_model_counts_only_its_expert_layers():
    model = build("Qwen3Moe", mlp_only_layers=[1])
    assert Routing(model).layers == 2


@pytest.mark.parametrize("batch_size", [256, 2])
def test_sampling_returns_the_routes_that_a_whole_pass_has(batch_size):
    """Prompts of several lengths and rows that end early: padding, compaction, the cache."""
    model = build("Qwen3Moe")
    routing = Routing(model)
    prompts = [[2, 3, 4], [5], [6, 7, 8, 9, 10, 11], [12, 13]]
    params = [
        SamplingParams(max_new_tokens=n, seed=i, stop_token_ids=(1,))
        for i, n in enumerate([12, 3, 7, 1])
    ]
    plain = sample(model, prompts, params, batch_size)
    found = sample(model, prompts, params, batch_size, routing)
    assert found == plain and all(c.routes is None for c in plain)
    for prompt, completion in zip(prompts, found, strict=True):
        tokens = [*prompt, *completion.token_ids]
        assert completion.routes.shape == (len(tokens) - 1, 3, 2)
        routing.arm()
        model(torch.tensor([tokens[:-1]]))
        whole = routing.chosen().sort(-1).values
        assert torch.equal(completion.routes.sort(-1).values, whole)
