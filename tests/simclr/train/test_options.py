"""What a run can be told beyond its data and model: precision, chunks, loggers, exports."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ntxent.cli import main
from ntxent.simclr import EvaluationConfig, ModelConfig, OptimizerConfig, TrainConfig
from ntxent.simclr.model.module import SimCLR
from ntxent.simclr.run.config_file import read_config
from ntxent.simclr.run.trained import TrainedRun
from ntxent.simclr.train.train import train

CONFIG = TrainConfig(
    epochs=1,
    accelerator="cpu",
    model=ModelConfig(width=4),
    evaluation=EvaluationConfig(labels_per_class=(1,), draws=2),
)


def losses(run):
    with run.metrics.open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs"))
    return train(replace(CONFIG, name="plain", folder=folder))[0]


def trained(tmp_path, **changes):
    return train(replace(CONFIG, name="a", folder=str(tmp_path), **changes))[0]


def test_bf16_stays_near_float32_and_keeps_float32_weights(tmp_path, plain):
    run = trained(tmp_path, precision="bf16")
    differences = np.abs(np.subtract(losses(run), losses(plain)))
    # bf16 keeps 8 bits: embeddings are off by up to 2^-8, similarities / τ by a few times that.
    assert 0 < differences.max() < 0.05
    assert {value.dtype for value in load_file(run.encoder).values()} <= {
        torch.float32,
        torch.int64,
    }


def test_the_loss_is_computed_in_float32_under_bf16(tmp_path, monkeypatch):
    seen = []
    original = SimCLR._finite_loss

    def record(self, z1, z2):
        loss, stats = original(self, z1, z2)
        seen.append((z1.dtype, loss.dtype))
        return loss, stats

    monkeypatch.setattr(SimCLR, "_finite_loss", record)
    trained(tmp_path, precision="bf16")
    assert set(seen) == {(torch.bfloat16, torch.float32)}


def test_fp16_is_refused_where_nothing_scales_it(tmp_path):
    with pytest.raises(ValueError, match="precision: received 'fp16' on cpu, expected it on cuda"):
        trained(tmp_path, precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_channels_last_changes_the_layout_and_not_the_result(tmp_path, plain, monkeypatch):
    layouts = []
    original = SimCLR.forward

    def record(self, images):
        layouts.append(images.is_contiguous(memory_format=torch.channels_last))
        return original(self, images)

    monkeypatch.setattr(SimCLR, "forward", record)
    run = trained(tmp_path, channels_last=True)
    assert all(layouts)
    np.testing.assert_allclose(losses(run), losses(plain), atol=1e-4)


def test_a_step_in_chunks_is_the_step_of_the_same_chunks_at_once(tmp_path, monkeypatch):
    """All that differs is when activations are kept: batch normalisation sees chunks in both."""
    cached = trained(tmp_path / "cached", gradcache=64, optimizer=OptimizerConfig(clip_norm=0.5))
    forward = SimCLR.forward

    def in_chunks(self, images):
        return torch.cat([forward(self, chunk) for chunk in images.split(64)])

    monkeypatch.setattr(SimCLR, "forward", in_chunks)
    whole = trained(tmp_path / "whole", optimizer=OptimizerConfig(clip_norm=0.5))
    np.testing.assert_allclose(losses(cached), losses(whole), rtol=1e-6)
    weights = (load_file(run.encoder) for run in (cached, whole))
    for _, (mine, theirs) in zip_by_name(*weights):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def zip_by_name(first, second):
    assert first.keys() == second.keys()
    return ((name, (first[name], second[name])) for name in first)


def test_a_clipped_gradient_is_no_longer_than_asked(tmp_path, monkeypatch):
    lengths = []
    monkeypatch.setattr(
        SimCLR,
        "on_before_zero_grad",
        lambda self, optimizer: lengths.append(
            torch.linalg.vector_norm(
                torch.cat([w.grad.flatten() for w in self.parameters() if w.grad is not None])
            )
            if self.head[0].weight.grad is not None
            else torch.zeros(())
        ),
    )
    trained(tmp_path, optimizer=OptimizerConfig(clip_norm=1e-3))
    assert 0.9e-3 < float(torch.stack(lengths).max()) < 1.01e-3


@pytest.mark.parametrize("name", ["lars", "sgd"])
def test_every_optimizer_trains(tmp_path, name, plain):
    choice = OptimizerConfig(name=name, lr=0.3, lr_scaling="linear", weight_decay=1e-6)
    curve = losses(trained(tmp_path, optimizer=choice))
    assert all(np.isfinite(curve))
    assert curve != losses(plain)


def test_loggers_of_the_configuration_get_every_step(tmp_path):
    loggers = (logger("CSVLogger", save_dir=str(tmp_path / "csv")),)
    run = trained(tmp_path, loggers=loggers)
    assert read_config(run).loggers == loggers
    (table,) = (tmp_path / "csv").rglob("metrics.csv")
    with table.open(newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == losses(run)


@pytest.mark.slow
def test_mlflow_and_wandb_get_every_step(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra loggers is not installed")
    mlflow = pytest.importorskip("mlflow", reason="the extra loggers is not installed")
    # MLflow asks for this before it writes to a folder.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_SILENT", "true")
    uri = f"file:{tmp_path}/mlruns"
    loggers = (
        logger("MLFlowLogger", experiment_name="digits", tracking_uri=uri),
        logger("WandbLogger", project="digits", save_dir=str(tmp_path), offline=True),
    )
    run = trained(tmp_path, loggers=loggers)
    client = mlflow.MlflowClient(uri)
    (experiment,) = (e for e in client.search_experiments() if e.name == "digits")
    (kept,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(kept.info.run_id, "loss")
    assert [point.value for point in history] == pytest.approx(losses(run))
    assert kept.data.params["batch_size"] == "256"
    wandb.finish()  # which the end of the process does otherwise
    (events,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert events.stat().st_size > 1000


def logger(name, **arguments):
    return {"class_path": f"lightning.pytorch.loggers.{name}", "init_args": arguments}


@pytest.mark.parametrize(
    ("loggers", "message"),
    [
        ("[{class_path: no.such.Logger}]", "no.such.Logger"),
        ("[{class_path: lightning.Trainer}]", "lightning.Trainer"),
        ("[{init_args: {}}]", "loggers: received {'init_args': {}}, expected class_path"),
    ],
)
def test_a_wrong_logger_is_one_line(tmp_path, capsys, loggers, message):
    argv = ["train", f"--loggers={loggers}", f"--folder={tmp_path}", "--accelerator=cpu"]
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_exported_encoder_needs_nothing_of_this_package(tmp_path, plain, capsys):
    import onnxruntime

    onnx, weights = tmp_path / "e.onnx", tmp_path / "e.safetensors"
    argv = ["export", str(plain.path), f"--onnx={onnx}", f"--safetensors={weights}"]
    assert main(argv) == 0
    assert "images [n, 1, 8, 8] in [0, 1] to features" in capsys.readouterr().out
    encoder = TrainedRun(plain.path).model.encoder
    images = torch.rand(7, 1, 8, 8)
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    (features,) = session.run(["features"], {"images": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(
            torch.from_numpy(features), encoder(images), rtol=1e-4, atol=1e-5
        )
    for name, (mine, theirs) in zip_by_name(load_file(weights), encoder.state_dict()):
        assert torch.equal(mine, theirs), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.onnx", "e.safetensors"]


def test_an_export_of_nothing_is_one_line(plain, tmp_path, capsys):
    assert main(["export", str(plain.path)]) == 2
    assert "expected --onnx PATH or --safetensors PATH" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--onnx=x"]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err


def test_a_checkpoint_needs_no_code_to_be_loaded(plain):
    state = torch.load(plain.checkpoint, weights_only=True)
    assert state["global_step"] == len(losses(plain)) == 5
    assert json.loads(plain.summary.read_text())["loss"]["steps"] == 5


def test_a_compiled_encoder_has_the_curve_of_the_other(tmp_path, plain):
    run = trained(tmp_path, compile=True)
    # sums in another order; AdamW's first steps look at signs
    np.testing.assert_allclose(losses(run), losses(plain), atol=1e-3)
    with (run.recording / "measures.csv").open(newline="") as file:
        recorded = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    assert recorded == pytest.approx(dict(enumerate(losses(run))), rel=1e-5)
    found = load_file(run.encoder)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in load_file(plain.encoder).items()
    }
    assert read_config(run).compile
