"""The callback for Hugging Face's Trainer: in the order of its calls, and in a real run."""

import importlib
import logging
import math
import sys
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from ntxent import bounds, monitor

N, TAU = 32, 0.1
CHANCE = bounds.limits("info_nce", N, TAU).chance


@dataclass
class Arguments:
    """What the callback reads of ``transformers.TrainingArguments``."""

    per_device_train_batch_size: int = N


@dataclass
class State:
    """And of ``transformers.TrainerState``, with its defaults."""

    global_step: int = 0
    is_world_process_zero: bool = True
    log_history: list = field(default_factory=list)


@pytest.fixture
def callback_class(monkeypatch):
    """The class on a transformers that has the four names it imports, as the library has them."""
    stub = ModuleType("transformers")
    methods = ("on_train_begin", "on_log", "on_train_end")
    nothing = {name: lambda self, args, state, control, **more: None for name in methods}
    stub.TrainerCallback = type("TrainerCallback", (), nothing)
    stub.TrainerState, stub.TrainingArguments = State, Arguments
    stub.TrainerControl = type("TrainerControl", (), {})
    monkeypatch.setitem(sys.modules, "transformers", stub)
    sys.modules.pop("ntxent.monitor.trainer_callback", None)
    yield monitor.NTXentTrainerCallback
    sys.modules.pop("ntxent.monitor.trainer_callback", None)


def train(callback, losses, state=None):
    """The order of calls of ``Trainer``: a log is in the history before the callbacks have it."""
    args, state = Arguments(), state or State()
    callback.on_train_begin(args, state, None, model=None)
    for loss in losses:
        state.global_step += 10
        logs = {"loss": loss, "learning_rate": 1e-4, "epoch": 0.1}
        state.log_history.append({**logs, "step": state.global_step})
        callback.on_log(args, state, None, logs=logs, model=None)
    logs = {"train_runtime": 1.0, "train_loss": 1.0}
    state.log_history.append({**logs, "step": state.global_step})
    callback.on_log(args, state, None, logs=logs)
    callback.on_train_end(args, state, None)
    return state


def test_it_adds_the_health_to_each_log_and_to_no_other(callback_class):
    state = train(callback_class(TAU), [CHANCE - 1.0, CHANCE - 2.0])
    first, second, last = state.log_history
    limits = bounds.limits("info_nce", N, TAU)
    position = (CHANCE - 2.0 - limits.floor) / (limits.chance - limits.floor)
    assert second["ntxent/position"] == pytest.approx(position)
    assert first["ntxent/chance"] == CHANCE
    assert not any(name.startswith("ntxent/") for name in last)


@pytest.mark.parametrize("zero", [True, False])
def test_it_warns_of_the_run_on_the_first_process_only(callback_class, zero, caplog):
    rising = [1.0 + 2.0 * k / 120 for k in range(120)]
    callback = callback_class(TAU, patience=100)
    with caplog.at_level(logging.INFO, logger="ntxent"):
        train(callback, rising, State(is_world_process_zero=zero))
    assert ("It rises, from" in caplog.text) == zero
    assert "It rises, from" in " ".join(callback.monitor.warnings)
    assert ("find what drives the loss up" in caplog.text) == zero


def test_a_nan_is_warned_of_and_a_second_training_begins_anew(callback_class):
    callback = callback_class(TAU, batch_size=N)
    for _ in range(2):
        train(callback, [math.nan, CHANCE - 1.0])
        (said,) = callback.monitor.warnings
        assert said.startswith("step 10: loss=nan")


def test_settings_without_limits_are_refused_when_it_is_made(callback_class):
    with pytest.raises(ValueError, match="temperature"):
        callback_class(0.0, batch_size=N)


def test_without_transformers_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    sys.modules.pop("ntxent.monitor.trainer_callback", None)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers, or use HealthMonitor"):
        _ = monitor.NTXentTrainerCallback


def test_in_a_real_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    import torch

    from ntxent import InfoNCELoss

    sys.modules.pop("ntxent.monitor.trainer_callback", None)
    own = importlib.import_module("ntxent.monitor.trainer_callback").NTXentTrainerCallback

    class Pairs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Linear(8, 4)
            self.loss = InfoNCELoss(temperature=TAU)

        def forward(self, first, second):
            return {"loss": self.loss(self.encoder(first), self.encoder(second))}

    torch.manual_seed(0)
    data = [{"first": x, "second": x + 0.1 * torch.randn(8)} for x in torch.randn(320, 8)]
    args = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=N,
        max_steps=20,
        logging_steps=5,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    callback = own(TAU)
    trainer = transformers.Trainer(
        model=Pairs(), args=args, train_dataset=data, callbacks=[callback]
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["step"] for row in logged] == [5, 10, 15, 20]
    assert all(row["ntxent/chance"] == CHANCE for row in logged)
    assert callback.monitor.step == 20
    assert callback.monitor.trajectory().values == 4
