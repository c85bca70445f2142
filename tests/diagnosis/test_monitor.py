"""Each warning once, at the right step, in any loop and in a LightningModule."""

import csv
import logging
import math
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from ntxent import NTXentLoss, bounds, monitor
from ntxent.monitor import HealthMonitor, NTXentCallback

N, TAU = 64, 0.5
CHANCE, FLOOR = bounds.chance(N), bounds.floor(N, TAU)
LEARNING = CHANCE - 0.5 * (CHANCE - FLOOR)


class Similarities(NamedTuple):
    positive_similarity: float
    negative_similarity: float


COLLAPSED, SPREAD = Similarities(1.0, 0.999), Similarities(0.02, 0.01)


def watched(values, **options):
    """What a monitor says of a sequence of losses, or of (loss, similarities)."""
    watch = HealthMonitor(N, TAU, say=lambda text: None, **({"every_n_steps": 1} | options))
    for value in values:
        watch.update(*value) if isinstance(value, tuple) else watch.update(value)
    return watch.warnings


def test_what_is_returned_is_what_the_bounds_say():
    watch = HealthMonitor(N, TAU, dim=16, every_n_steps=1)
    found = watch.update(torch.tensor(3.5), Similarities(0.8, torch.tensor(0.05)))
    assert found["position"] == pytest.approx(bounds.position(found["loss"], N, TAU, dim=16))
    assert found["floor"] == bounds.floor(N, TAU, dim=16)
    assert (found["chance"], found["ceiling"]) == (CHANCE, bounds.ceiling(N, TAU))
    assert found["gradient_bound"] == pytest.approx(bounds.gradient_bound(found["loss"], TAU))
    assert found["top1_share"] == bounds.top1_share(found["loss"])
    assert found["similarity_low"] <= 0.8 <= found["similarity_high"]
    assert found["negative_similarity"] == pytest.approx(0.05)
    assert {type(value) for value in found.values()} == {float}
    assert "positive_similarity" not in HealthMonitor(N, TAU, every_n_steps=1).update(3.2)


def test_a_value_is_read_only_when_it_is_due():
    class Counted:
        reads = 0

        def __float__(self):
            Counted.reads += 1
            return LEARNING

    watch = HealthMonitor(N, TAU, every_n_steps=7)
    answers = [watch.update(Counted()) for _ in range(20)]
    assert [step + 1 for step, answer in enumerate(answers) if answer] == [7, 14]
    assert Counted.reads == 2


def test_a_healthy_run_is_left_in_peace():
    # From chance, through learning, noisy about the start, to just above the floor's tenth.
    start = [CHANCE + 0.01 * (-1) ** k for k in range(60)]
    descent = [CHANCE - (CHANCE - FLOOR) * share / 100 for share in range(0, 88)]
    assert watched(start + descent + [LEARNING] * 300) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_value_no_loss_has_is_said_at_once_and_once(bad):
    (said,) = watched([LEARNING] * 4 + [bad] * 50)
    assert said.startswith("step 5: loss=")
    assert "expected" in said


def test_an_impossible_value_names_what_would_make_it_possible():
    (said,) = watched([LEARNING, *[2 * CHANCE + 3] * 20])
    assert said.startswith("step 2: No unit embeddings have a loss of")
    assert "sum of both directions" in said


def test_chance_is_said_after_patience():
    (said,) = watched([CHANCE] * 200, patience=50)
    assert said.startswith("step 51, since step 1: This is chance")
    said, course = watched([LEARNING] * 9 + [CHANCE] * 200, patience=50)
    assert said.startswith("step 60, since step 10: ")
    assert "It rises, from" in course
    (said,) = watched([CHANCE + 1] * 200, patience=50)
    assert "Worse than guessing" in said
    assert watched(([CHANCE] * 49 + [LEARNING]) * 4, patience=50) == []


def test_the_floor_is_said_at_once():
    (said,) = watched([LEARNING] * 3 + [FLOOR + 0.01] * 300)
    assert said.startswith("step 4: Next to nothing is left to gain")


def test_collapse_is_said_at_once_but_after_patience_from_the_start():
    (said,) = watched([(LEARNING, Similarities(0.8, 0.3))] * 3 + [(CHANCE, COLLAPSED)] * 300)
    assert said.startswith("step 4: Collapse")
    (said,) = watched([(CHANCE, COLLAPSED)] * 300, patience=50)
    assert said.startswith("step 51, since step 1: Collapse")
    # An untrained encoder with nearly equal outputs that then learns.
    assert watched([(CHANCE, COLLAPSED)] * 40 + [LEARNING] * 100, patience=50) == []
    (said,) = watched([(CHANCE, SPREAD)] * 120)
    assert said.startswith("step 101, since step 1: This is chance")
    assert "The measured similarities exclude collapse." in said


def test_an_episode_ends_after_patience_and_the_next_is_said_again():
    at_floor = [FLOOR + 0.01]
    flicker = (at_floor + [LEARNING] * 9) * 5
    assert len(watched(flicker, patience=10)) == 1
    said = watched(at_floor + [LEARNING] * 30 + at_floor, patience=10)
    assert [text.partition(":")[0] for text in said] == ["step 1", "step 32"]
    assert len(watched([math.nan, LEARNING, FLOOR], patience=10)) == 2


def test_steps_are_those_of_the_loop():
    watch = HealthMonitor(N, TAU, every_n_steps=10, say=lambda text: None)
    for _ in range(35):
        watch.update(math.nan)
    assert [text.partition(":")[0] for text in watch.warnings] == ["step 10"]
    assert watch.update(LEARNING, step=50)
    assert not watch.update(LEARNING)


@pytest.mark.filterwarnings("error")
def test_a_step_of_its_own_size_or_temperature_has_its_own_limits():
    watch = HealthMonitor(N, TAU, every_n_steps=1)
    assert watch.update(1.0, batch_size=4)["chance"] == bounds.chance(4)
    tau = torch.nn.Parameter(torch.tensor(0.125))
    assert watch.update(24 * tau, temperature=tau)["floor"] == bounds.floor(N, 0.125)


def test_a_queue_and_a_variant_have_theirs():
    watch = HealthMonitor(N, 0.2, variant="moco", queue=65536, every_n_steps=1)
    found = watch.update(6.0)
    assert found["chance"] == pytest.approx(math.log(65537))
    assert "similarity_low" not in found


def test_warnings_are_logged(caplog):
    with caplog.at_level(logging.WARNING, logger="ntxent"):
        HealthMonitor(N, TAU, every_n_steps=1).update(math.nan)
    assert "step 1: loss=nan" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"variant": "byol"}, "variant='byol'"),
        ({"every_n_steps": 0}, "every_n_steps: received 0"),
        ({"patience": 0}, "patience: received 0"),
        ({"queue": 5}, "queue"),
    ],
)
def test_mistakes_are_refused_before_training(options, message):
    with pytest.raises(ValueError, match=message):
        HealthMonitor(**({"batch_size": N, "temperature": TAU} | options))


def test_lightning_is_imported_only_for_the_callback():
    code = (
        "import sys, ntxent.monitor as m; m.HealthMonitor(8, 0.5).update(1.0);"
        "print({'lightning', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    with pytest.raises(AttributeError, match="no attribute 'NTXentCalback'"):
        _ = monitor.NTXentCalback


class Tiny(LightningModule):
    """One linear layer on views that differ by noise; ``form`` is what training_step returns."""

    def __init__(self, form="tensor", stats=True, loss=None, **criterion):
        super().__init__()
        self.encoder = torch.nn.Linear(8, 8)
        self.criterion = NTXentLoss(TAU, return_stats=stats, **criterion)
        self.form, self.value = form, loss
        self.seen = []

    def training_step(self, batch, batch_idx):
        noisy = batch + 0.1 * torch.randn_like(batch)
        out = self.criterion(self.encoder(batch), self.encoder(noisy))
        loss = out[0] if isinstance(out, tuple) else out
        if self.value is not None:
            loss = 0 * loss + self.value
        self.seen.append(loss.item())
        self.log("mine", loss)
        return {"tensor": loss, "dict": {"loss": loss, "more": 1}, "none": None}[self.form]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def fit(module, callback, steps=20, **options):
    torch.manual_seed(0)
    data = DataLoader(torch.randn(N * 10, 8), batch_size=N)
    trainer = Trainer(
        **({"max_steps": steps, "accelerator": "cpu", "logger": False} | options),
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return trainer


@pytest.mark.parametrize("form", ["tensor", "dict"])
@pytest.mark.parametrize("stats", [True, False])
def test_the_callback_logs_the_health_of_any_module(form, stats):
    module, callback = Tiny(form, stats), NTXentCallback(N, TAU, every_n_steps=5)
    found = fit(module, callback).callback_metrics
    position = bounds.position(module.seen[19], N, TAU)
    assert found["ntxent/position"].item() == pytest.approx(position, rel=1e-5)
    assert ("ntxent/positive_similarity" in found) == stats
    assert callback.monitor.step == 20
    assert not callback._hooks
    assert not module.criterion._forward_hooks


def test_the_loss_may_be_a_logged_metric():
    module = Tiny("tensor", loss=LEARNING)
    fit(module, callback := NTXentCallback(N, TAU, metric="mine", prefix="", every_n_steps=5))
    assert callback.monitor.step == 20
    with pytest.raises(ValueError, match="metric: received 'other', but training logs 'mine'"):
        fit(Tiny(), NTXentCallback(N, TAU, metric="other"))


def test_accumulated_gradients_do_not_divide_the_loss():
    module = Tiny(loss=LEARNING)
    callback = NTXentCallback(N, TAU, every_n_steps=2)
    found = fit(module, callback, steps=6, accumulate_grad_batches=5).callback_metrics
    assert found["ntxent/loss"].item() == pytest.approx(LEARNING, rel=1e-6)


def test_a_learnt_temperature_moves_the_limits():
    module = Tiny(learnable=True)
    with torch.no_grad():
        module.criterion.log_scale.fill_(math.log(4.0))
    module.criterion.log_scale.requires_grad_(False)
    found = fit(module, NTXentCallback(N, TAU, every_n_steps=5)).callback_metrics
    assert found["ntxent/floor"].item() == pytest.approx(bounds.floor(N, 0.25), rel=1e-5)


def test_the_callback_warns_once_at_the_step(caplog):
    with caplog.at_level(logging.WARNING, logger="ntxent"):
        fit(Tiny(loss=math.nan), callback := NTXentCallback(N, TAU, every_n_steps=5))
    (said,) = callback.monitor.warnings
    assert said.startswith("step 5: loss=nan")
    assert caplog.text.count("step 5: loss=nan") == 1


def test_a_batch_that_is_skipped_is_no_loss():
    fit(Tiny("none"), callback := NTXentCallback(N, TAU, every_n_steps=1))
    assert callback.monitor.step == 0


def test_a_hand_made_step_without_a_loss_is_told_what_to_do():
    class Manual(Tiny):
        automatic_optimization = False

        def __init__(self):
            super().__init__("none")
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.optimizers().step()

    with pytest.raises(ValueError, match="give its name as metric"):
        fit(Manual(), NTXentCallback(N, TAU, every_n_steps=1))


def test_a_callback_serves_one_fit_after_another_and_is_pickled():
    callback = NTXentCallback(N, TAU, every_n_steps=5)
    for _ in range(2):
        fit(Tiny(loss=math.nan), callback)
        assert len(callback.monitor.warnings) == 1
    assert pickle.loads(pickle.dumps(callback)).monitor.convention.batch_size == N


def test_loggers_get_every_look_at_the_step_of_its_row(tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(tmp_path, name="", version="")
    fit(Tiny(), NTXentCallback(N, TAU), steps=40, logger=logger, log_every_n_steps=10)
    with open(tmp_path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for column in ("ntxent/position", "mine"):
        assert [int(row["step"]) for row in rows if row[column]] == [9, 19, 29, 39]


def test_a_run_that_leaves_a_narrow_cone_is_not_called_collapsed():
    def said(gaps):
        monitor = HealthMonitor(N, 0.5, every_n_steps=1, patience=20)
        for gap in gaps:
            stats = SimpleNamespace(positive_similarity=0.97 + gap, negative_similarity=0.97)
            monitor.update(CHANCE - 0.02, stats)
        return " ".join(monitor.warnings)

    grows = said([0.002 + 0.0002 * k for k in range(60)])
    assert "starts so recovers" in grows
    assert "Collapse" not in grows
    assert "Collapse" in said([0.002] * 60)
