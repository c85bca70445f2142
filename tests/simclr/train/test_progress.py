"""Nobody waits blind: how long a training takes is said after its first steps."""

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from ntxent.simclr.train import progress
from ntxent.simclr.train.progress import Forecast, LiveHealth, PlainHealth

METRICS = dict.fromkeys(("loss", "floor", "chance", "position", "positive_similarity"), 1.0)


def said(monkeypatch, seconds, total, start=0):
    """What is printed over a training whose steps take ``seconds``."""
    clock = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: clock[0])
    text = StringIO()
    forecast = Forecast(Console(file=text, width=60))
    for step in range(start + 1, total + 1):
        # the first step is slow, and says nothing of the others
        clock[0] += 100 if step == start + 1 else seconds
        forecast.on_train_batch_end(
            SimpleNamespace(global_step=step, estimated_stepping_batches=total)
        )
    return text.getvalue()


def test_minutes_are_told_once(monkeypatch):
    assert said(monkeypatch, 2.0, 195) == "about 6 min left, after 4 of 195 steps\n"
    assert said(monkeypatch, 2.0, 195, start=100) == "about 3 min left, after 104 of 195 steps\n"


def test_hours_come_with_a_remedy(monkeypatch):
    line = said(monkeypatch, 20.0, 600)
    assert line.startswith("about 3 h 19 min left, after 3 of 600 steps; Ctrl-C stops")
    assert "--epochs" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(("seconds", "total"), [(0.1, 300), (10.0, 2)])
def test_a_short_training_says_nothing(monkeypatch, seconds, total):
    assert said(monkeypatch, seconds, total) == ""


@pytest.mark.parametrize("width", [60, 80])
def test_the_bar_has_total_and_time_left_in_a_narrow_terminal(monkeypatch, width):
    text = StringIO()
    live = LiveHealth(Console(file=text, width=width, force_terminal=True, color_system=None))
    clock = [0.0]
    live.bar.get_time = lambda: clock[0]
    trainer = SimpleNamespace(global_step=0, estimated_stepping_batches=195, logged_metrics=METRICS)
    live.on_train_start(trainer, None)
    for _ in range(4):
        clock[0] += 40.0  # longer than the time over which rich measures speed by default
        trainer.global_step += 1
        live.on_train_batch_end(trainer)
    live.bar.refresh()
    live.on_train_end(trainer, None)
    assert "4/195 steps 0:02:40 2:07:20" in text.getvalue()
    assert "loss of the last step 1.000" in text.getvalue()


def test_an_epoch_that_was_resumed_has_the_mean_of_all_its_steps(tmp_path):
    metrics = tmp_path / "metrics.csv"
    rows = [(0, 9.0), (1, 4.0), (1, 2.0), (1, 1.0)]
    lines = [f"{epoch},{loss},1,1,1,1" for epoch, loss in rows]
    header = "epoch,loss,floor,chance,position,positive_similarity"
    metrics.write_text("\n".join([header, *lines]) + "\n")
    text = StringIO()
    health = PlainHealth(Console(file=text, width=200), metrics)
    health.on_train_epoch_end(SimpleNamespace(current_epoch=1, max_epochs=2), None)
    assert text.getvalue().startswith("epoch 2/2  mean loss of the epoch 2.333  floor 1.000")
