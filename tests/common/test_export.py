"""`common export`: a tiny run's folder, held against shards that went another way."""

import json

import pytest
import torch
import torch.distributed
from peft import LoraConfig, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import cli
from common.config import recipe_folder
from common.export import export, gathered
from common.plugin.lora import merge
from common.results import record as records
from common.results.provenance import sha256_json
from common.runs import read_json, write_json
from common.stages.prepare_model import build_model
from data.parquet import prompt_row, write_parquet
from tests.common.results.conftest import make_record

__all__ = ["make_record"]
pytestmark = pytest.mark.component
LORA = {"r": 4, "lora_alpha": 8}


@pytest.fixture(params=["whole", "adapters"])
def run(request, tmp_path, make_record):
    """The folder of a finished run, its weights as verl saves them."""
    torch.set_num_threads(1)  # more threads only slow a model this small down
    folder = tmp_path / "runs" / "gspo_moe" / "micro" / "gspo" / "seed1"
    actor = folder / "train" / "checkpoints" / "global_step_5" / "actor"
    hub = actor / "huggingface"
    hub.mkdir(parents=True)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    build = {"architecture": "Qwen3", "characters": "0123456789=?"}
    build["config"] = sizes | heads | {"initializer_range": 0.5}
    template = (recipe_folder("gspo_moe") / "micro_template.jinja").read_text()
    build_model(hub, build, template, seed=1)
    model = AutoModelForCausalLM.from_pretrained(hub)
    weights = model.state_dict()
    if request.param == "adapters":
        modules = [n for n, _ in model.named_modules() if n.endswith(("q_proj", "down_proj"))]
        model = get_peft_model(model, LoraConfig(**LORA, target_modules=modules))
        weights = model.state_dict()
        for name, weight in weights.items():
            weight.add_(0.1 if ".lora_B." in name else 0)
        write_json(actor / "lora_train_meta.json", LORA)
        merged = merge(weights, LORA["lora_alpha"] / LORA["r"])
        plain = AutoModelForCausalLM.from_pretrained(hub)
        plain.load_state_dict(merged)
        plain.save_pretrained(hub)
    torch.save(weights, actor / "model_world_size_1_rank_0.pt")
    verl = read_json(hub / "config.json") | {"dtype": "bfloat16"}  # whatever the weights are
    write_json(hub / "config.json", verl)
    (folder / "data").mkdir()
    rows = [prompt_row("chain", f"{i % 10}?", "1", "test", i) for i in range(70)]
    write_parquet(folder / "data" / "test.parquet", rows)
    config = make_record()["config"] | {"data": {"max_response_length": 6}}
    config["recipe"] |= {"model": "tiny", "models": {"tiny": {"build": build}}}
    values = {"recipe": "gspo_moe", "config": config, "config_sha256": sha256_json(config)}
    record = make_record(**values)
    (folder / "record").mkdir()
    records.write(record, folder / "record" / "record.json")
    (folder / "evaluate").mkdir()
    benchmarks = {"test": {"file": "/elsewhere/runs/.store/data-1/test.parquet"}}
    spec = {"model": f"/elsewhere/runs/{hub.relative_to(tmp_path / 'runs')}"}
    write_json(folder / "evaluate" / "spec.json", spec | {"benchmarks": benchmarks})
    write_json(folder / "train" / "stage.json", {"key": "k"})
    stage = {"inputs": {"model": "k/global_step_5"}}
    stage |= {"finished": record["provenance"]["finished"]}
    write_json(folder / "evaluate" / "stage.json", stage)
    return folder


def test_the_folder_is_the_checkpoint_and_its_card_says_where_from(run, capsys):
    files = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert cli.main(["export", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prompts"] == 64 and found["same"] == found["tokens"] > 64
    assert found["gap"] < 1e-5 and found["dtype"] == "float32"
    assert found["against"] == "the checkpoint `train/checkpoints/global_step_5/actor`"
    folder = run / "export"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32 and AutoTokenizer.from_pretrained(folder).eos_token
    card = (folder / "README.md").read_text()
    record = records.load(run / "record" / "record.json")
    assert card.startswith("---\nlibrary_name: transformers\nlicense: apache-2.0\n")
    assert "`bash recipes/gspo_moe/run.sh scale=micro variant=gspo seed=1`" in card
    assert f"`{records.record_id(record)}`, sha256 `{record['sha256']}`" in card
    before, after = (record["metrics"][f"test{x}/accuracy"]["mean"] for x in ("@base", ""))
    assert f"| accuracy, test | {before:.4g} [" in card and f"problems | {after:.4g} [" in card
    assert "64 prompts, " in card and "@misc{" in card
    assert {p: p.read_bytes() for p in files} == files  # the run itself is left alone
    with pytest.raises(ValueError, match="is there already"):
        export(str(run))


def test_another_model_is_refused_and_leaves_nothing(run):
    shard = next(run.rglob("model_world_size_1_rank_0.pt"))
    weights = torch.load(shard, weights_only=True)
    next(w for n, w in weights.items() if n.endswith("layers.1.mlp.up_proj.weight")).mul_(1.01)
    torch.save(weights, shard)
    with pytest.raises(ValueError, match="another one: 64 prompts"):
        export(str(run))
    assert not (run / "export").exists() and not list(run.glob("*.partial"))


@pytest.mark.parametrize("run", ["whole"], indirect=True)
def test_weights_that_were_cut_are_one_line(run, capsys):
    for name in ("model.safetensors", "model_world_size_1_rank_0.pt"):
        path = next(run.rglob(name))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert cli.main(["export", str(run)]) == 2
        path.write_bytes(whole)
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and f"{name}: cannot be read (" in error
    assert not list(run.glob("export*"))


@pytest.mark.parametrize("run", ["whole"], indirect=True)
def test_an_unfinished_run_is_refused_in_one_line(run):
    def refused(what):
        with pytest.raises(ValueError, match=what) as error:
            export(str(run))
        assert "\n" not in str(error.value)

    stage = run / "evaluate" / "stage.json"
    values = read_json(stage)
    write_json(stage, values | {"inputs": {"model": "other/global_step_3"}})
    refused("gspo_moe micro gspo seed1 is unfinished: it was trained on after its evaluation")
    write_json(stage, values | {"finished": "2026-01-02T00:00:00Z"})
    refused("its record is older than its evaluation")
    write_json(stage, values)
    next(run.rglob("huggingface/config.json")).unlink()
    refused("the model that was evaluated is gone")
    (run / "train" / "stage.json").unlink()
    refused("the stage `train` has not ended")
    with pytest.raises(ValueError, match="no run's folder"):
        export(str(run.parent))


def test_shards_of_two_ranks_are_put_together(tmp_path):
    whole, paths = torch.arange(10.0).reshape(5, 2), []
    for rank in range(2):
        torch.distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=2)
        mesh = init_device_mesh("cpu", (2,))
        local = whole.chunk(2)[rank].clone()
        sizes = {"run_check": False, "shape": whole.shape, "stride": whole.stride()}
        shard = DTensor.from_local(local, mesh, [Shard(0)], **sizes)
        paths.append(tmp_path / f"model_world_size_2_rank_{rank}.pt")
        torch.save({"w": shard, "scale": torch.ones(1)}, paths[-1])
        torch.distributed.destroy_process_group()
    found = gathered(paths)
    assert torch.equal(found["w"], whole) and torch.equal(found["scale"], torch.ones(1))
    with pytest.raises(ValueError, match="of 2 ranks, 1 has no file"):
        gathered(paths[:1])
