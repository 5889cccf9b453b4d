"""The SFT stage goes on after an interruption at any point, with the same key."""

import shutil
from pathlib import Path

import pytest

from common import runs
from common.results.provenance import sha256_json
from common.runs import STAGE_FILE, read_json, write_json
from common.stages import sft as stage
from data.parquet import write_parquet
from tests.composed import composed


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "STORE", tmp_path / "store")
    folders = []
    for name in ("data", "model"):
        (tmp_path / "store" / name).mkdir(parents=True)
        write_json(tmp_path / "store" / name / STAGE_FILE, {"key": name})
        folders.append(tmp_path / "store" / name)
    for name in ("sft", "sft_noisy"):
        write_rows(folders[0] / f"{name}.parquet", 128)
    return folders


def write_rows(path, number):
    chat = {"messages": [{"role": "assistant", "content": "1"}]}
    write_parquet(path, [chat] * number)


@pytest.fixture
def trainer(monkeypatch):
    """verl's SFT trainer replaced by one that writes what verl would."""
    started = []

    def run_child(command, env, log, follow):
        folder = log.parent
        started.append(folder.name)
        trainer = read_json(folder / "config.yaml")["trainer"]
        steps = trainer["total_training_steps"]
        for step in sorted({*range(trainer["save_freq"], steps, trainer["save_freq"]), steps}):
            exported = folder / "checkpoints" / f"global_step_{step}" / "huggingface"
            exported.mkdir(parents=True)
            way = f" at step {step}" if step < steps else ""
            (exported / "weights").write_text(folder.name + way)
        (folder / "metrics.jsonl").write_text("")

    monkeypatch.setattr(stage, "run_child", run_child)
    return started


def compose():
    return composed("gspo_moe", "micro", "gspo")


def test_each_phase_starts_from_the_one_before_and_the_last_is_the_model(inputs, trainer):
    final = stage.sft(compose(), *inputs)
    assert trainer == ["learn", "unlearn"]
    assert (final / "model" / "weights").read_text() == "unlearn"
    finished = read_json(final / STAGE_FILE)
    assert final.name == f"sft-{finished['key'][:12]}"
    assert finished["key"] == sha256_json(finished["inputs"])
    assert str(inputs[0].parent) not in (final / STAGE_FILE).read_text()


def test_models_on_the_way_survive_an_interruption_between_two_of_them(
    inputs, trainer, monkeypatch
):
    run = composed("qwen3_ppo", "micro", "sft_heavy")
    write_rows(inputs[0] / "taught.parquet", 64)
    warmup, whole = run.recipe.warmups["heavy"].sft, Path.rename
    renamed = []

    def rename(path, target):
        renamed.append(target.name)
        if len(renamed) == 3:
            raise KeyboardInterrupt
        return whole(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        stage.fine_tune(run, warmup, *inputs, inputs[1])
    final = stage.fine_tune(run, warmup, *inputs, inputs[1])
    assert trainer == ["heavy"]  # it was not trained again
    way = {step: (m / "weights").read_text() for step, m in stage.on_the_way(final).items()}
    assert way == {step: f"heavy at step {step}" for step in (20, 40, 60, 80)}
    assert (final / "model" / "weights").read_text() == "heavy"
    assert not (final / "heavy").exists()
    assert stage.on_the_way(stage.sft(compose(), *inputs)) == {}  # the base keeps none


@pytest.mark.parametrize("broken", ["copy", "rmtree", "second phase"])
def test_an_interruption_anywhere_is_taken_up_again(inputs, trainer, monkeypatch, broken):
    wanted = stage.sft(compose(), *inputs)
    shutil.rmtree(wanted)
    trainer.clear()
    with monkeypatch.context() as patch:
        if broken == "second phase":
            whole = stage.run_phase

            def run_phase(run, folder, *rest):
                if folder.name == "unlearn":
                    raise OSError(28, "No space left on device")
                return whole(run, folder, *rest)

            patch.setattr(stage, "run_phase", run_phase)
        else:

            def fails(*_, **__):
                raise OSError(28, "No space left on device")

            if broken == "copy":
                patch.setattr(shutil, "copy", fails)
            else:
                removed = shutil.rmtree
                # the clean-up after the model is in its place
                patch.setattr(
                    shutil,
                    "rmtree",
                    lambda path, **k: (
                        fails() if (path.parent / "model").exists() else removed(path, **k)
                    ),
                )
        with pytest.raises(OSError):
            stage.sft(compose(), *inputs)
    assert stage.sft(compose(), *inputs) == wanted
    assert trainer.count("learn") == 1
    assert (wanted / "model" / "weights").read_text() == "unlearn"


def test_too_few_rows_are_named_before_verl_divides_by_their_batches(inputs, trainer):
    write_rows(inputs[0] / "sft_noisy.parquet", 100)
    with pytest.raises(ValueError, match="sft_noisy.parquet: 100 rows, fewer than a batch of 128"):
        stage.sft(compose(), *inputs)
    assert trainer == ["learn"]
    with pytest.raises(ValueError, match=r"dots.parquet: no such file .*\(there: sft, sft_noisy\)"):
        stage.check_rows(inputs[0] / "dots.parquet", 1)
