"""Logs in the true formats of the tools: the right column, all its values, the right steps.

The expected values were read from the files by eye before there was a reader for them.
"""

import gzip
import io
import sys
from pathlib import Path

import pytest

from log_texts import TEXTS, lines
from ntxent.logs import NoLog, judge_log, read_log

LOGS = Path(__file__).parent / "logs"

# path: column, values, first step and value, last step and value
EXPECTED = {
    "dcl.csv": ("loss", 60, (0, 5.5), (59, -1.1509325374122716)),
    "fall_then_rise.csv": ("loss", 400, (0, 6.2131), (19950, 5.8544)),
    "flat141.csv": ("loss", 400, (0, 5.0644), (19950, 5.0336)),
    "rising.csv": ("loss", 400, (0, 4.6283), (19950, 5.7667)),
    "solo_metrics.csv": ("train_nce_loss_step", 60, (49, 6.1), (2999, 0.8879)),
    "tb_download.csv": ("Value", 60, (49, 6.24), (2999, 4.534066246619549)),
    "wandb_export.csv": (
        "brisk-pond-1 - train/loss",
        60,
        (49, 6.24),
        (2999, 4.534066246619549),
    ),
    "hf/trainer_state.json": ("loss", 50, (100, 3.2), (5000, 0.4209)),
    "open_clip/out.log": ("Loss", 40, (64, 4.15), (249664, 0.67186)),
    "sthalles/training.log": ("Loss", 60, (0, 5.8), (59, 1.2900601922125998)),
    "tb_google": ("train/contrast_loss", 30, (0, 11.5), (2900, 2.378730535507202)),
}
FOLDERS = {"hf": "hf/trainer_state.json", "open_clip": "open_clip/out.log"}
FOLDERS |= {"sthalles": "sthalles/training.log"}


@pytest.mark.parametrize("path", [*EXPECTED, *FOLDERS])
def test_a_log_of_a_public_tool_is_read(path):
    column, count, first, last = EXPECTED[FOLDERS.get(path, path)]
    log = read_log(LOGS / path)
    assert log.column == column
    assert len(log.loss.values) == count
    assert (log.loss.steps[0], log.loss.values[0]) == (first[0], pytest.approx(first[1]))
    assert (log.loss.steps[-1], log.loss.values[-1]) == (last[0], pytest.approx(last[1]))


@pytest.mark.parametrize("name", TEXTS)
def test_lines_that_scripts_print_are_read(name, tmp_path):
    text, column, expected = TEXTS[name]
    path = tmp_path / "train_loss"
    path.write_text(text, encoding="utf-8")
    log = read_log(path)
    assert column in (None, log.column)
    pairs = [
        (step, None if value != value else value)
        for step, value in zip(log.loss.steps.tolist(), log.loss.values.tolist(), strict=True)
    ]
    assert pairs[: len(expected)] == [(s, v) for s, v in expected]
    assert len(pairs) == len(expected)


# What a script prints k times, the loss of the k-th line as L; column, first and last step.
PRINTED = {
    "albef": (
        "Train Epoch: [{e}]  [{i:>5}/ 500]  eta: 0:10:00  lr: 0.0001  loss_mlm: 3.1 (3.2)  "
        "loss_ita: {L} (9.9)  loss_itm: 0.69  time: 0.5  data: 0.1  max mem: 10000",
        ("loss_ita", 0, 1950),
    ),
    "vissl": (
        "INFO 2023-05-01 10:00:00,123 log_hooks.py: 300: Rank: 0; [ep: {e}] iter: {s}; lr: 0.3; "
        "loss: {L}; btime(ms): 300; eta: 1:00:00; peak_mem(M): 100;",
        ("loss", 0, 1950),
    ),
    "fairseq": (
        "2023-05-01 10:00:00 | INFO | train_inner | epoch {e:03}:  {i:>4} / 500 loss={L}, ppl=10, "
        "wps=1000, num_updates={s}, lr=1e-4, gnorm=1, wall=10",
        ("loss", 0, 1950),
    ),
    "megatron": (
        "iteration {s}/5000 | consumed samples: 10 | learning rate: 1.0E-03 | global batch size: "
        "256 | lm loss: {L} | loss scale: 65536.0 | grad norm: 1.0 |",
        ("lm loss", 0, 1950),
    ),
    "loguru": (
        "2023-05-01 10:00:00.123 | INFO     | __main__:train:55 - step {s} loss {L}",
        ("loss", 0, 1950),
    ),
    "absl": ("I0501 10:00:00.123 12 train.py:55] step={s}, loss={L}", ("loss", 0, 1950)),
    "held out beside it": (
        "----- Epoch {k} -----\ntrain: loss={L} acc=0.1\nval: loss=9.9 acc=0.1",
        ("loss", 0, 39),
    ),
    "lightning": (
        "Epoch {k}, global step {s}: 'train_loss' reached {L} (best 1.0), saving model",
        ("train_loss", 0, 1950),
    ),
    "gan-like brackets": (
        "[Epoch {e}] [Batch {i}/500] [NTXent: {L}] [D: 0.3]",
        ("NTXent", 0, 1950),
    ),
    "drawn tables": ("│ {k} │ step {s} │ loss {L} │", ("loss", 0, 1950)),
    "megabytes of nothing": ("epoch {k} took 3.2s, saved to out/3.pt, loss: {L}.", ("loss", 0, 39)),
    "json of mmcv": (
        '{{"mode": "train", "epoch": {e}, "iter": {i}, "lr": 0.1, "loss": {L}}}',
        ("loss", 0, 1950),
    ),
    "json with held-out rows": (
        '{{"mode": "train", "step": {s}, "loss": {L}}}\n{{"mode": "val", "step": {s}, "loss": 9}}',
        ("loss", 0, 1950),
    ),
    "no header": ("{s},{L}", ("column 2", 0, 1950)),
}


@pytest.mark.parametrize("name", PRINTED)
def test_forty_lines_of_a_tool_are_forty_losses(name, tmp_path):
    form, (column, first, last) = PRINTED[name]
    losses = [round(2.2 + 4 / (1 + k), 4) for k in range(40)]
    rows = [
        form.format(k=k, e=k // 10 + 1, i=k % 10 * 50, s=k * 50, L=loss)
        for k, loss in enumerate(losses)
    ]
    path = tmp_path / "a.log"
    path.write_text(lines(*rows), encoding="utf-8")
    log = read_log(path)
    assert log.column == column
    assert log.loss.values.tolist() == losses
    assert (log.loss.steps[0], log.loss.steps[-1]) == (first, last)


def test_the_runs_of_one_export_are_asked_for(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(lines('"Step","a - train/loss","b - train/loss"', '"0","5","6"', '"1","4","5"'))
    assert read_log(path).rivals == ("b - train/loss",)


def test_the_mean_of_an_epoch_is_no_value_among_those_of_its_steps(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(lines("Step [0/2] Loss: 6", "Step [1/2] Loss: 5", "Epoch [0/9] Loss: 5.5"))
    log = read_log(path)
    assert log.loss.values.tolist() == [6, 5]
    assert log.others == ("Loss (epoch)",)


# --- which column ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ("total_loss,contrast_loss,supervised_loss", "contrast_loss"),
        ("loss,loss_itc,loss_itm,loss_mlm", "loss_itc"),
        ("loss_ce,InfoNCE", "InfoNCE"),
        ("train_loss,kl_loss,reg_loss", "train_loss"),
        ("loss,train_loss", "loss"),
        ("val_loss,total_loss,loss", "loss"),
        ("loss_scale,train/loss_simclr,grad_norm", "train/loss_simclr"),
        ("l2_loss,weight_decay_loss,nt_xent", "nt_xent"),
        ("clip_loss,distill_loss,logit_scale", "clip_loss"),
        ("moco_loss,cls_loss", "moco_loss"),
        ("nt_xent_temperature,loss", "loss"),
        ("train_loss_epoch,train_loss_step", "train_loss_step"),
    ],
)
def test_the_column_of_the_contrastive_loss_is_taken(names, taken, tmp_path):
    columns = names.split(",")
    rows = [",".join(["5.5"] * len(columns)), ",".join(["5.0"] * len(columns))]
    path = tmp_path / "a.csv"
    path.write_text(lines(names, *rows))
    assert read_log(path).column == taken


def test_two_columns_as_likely_are_asked_for_and_nothing_is_proved(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(lines("step,itc_loss,nce_loss", "0,4,5", "1,3,4.5"))
    with pytest.raises(ValueError, match=r"'itc_loss' .4 to 3. or 'nce_loss' .5 to 4\.5.*--column"):
        judge_log(path, {"batch_size": 64, "temperature": 0.1})
    given = {"batch_size": 64, "temperature": 0.1}
    assert judge_log(path, given, "nce_loss").log.column == "nce_loss"


def test_a_column_that_the_theorems_exclude_gives_way_to_one_that_they_allow(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(lines("step,loss,loss_x,val_loss", *(f"{k},400,4.5,4" for k in range(9))))
    judged = judge_log(path, {"batch_size": 64, "temperature": 0.1})
    assert judged.log.column == "loss_x"
    assert any("'loss' cannot be" in note for note in judged.log.notes)


def test_a_column_that_is_surely_the_loss_gives_way_to_no_other_loss(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(lines("step,nce_loss,val_loss,class_loss", *(f"{k},400,4,4" for k in range(9))))
    judged = judge_log(path, {"batch_size": 64, "temperature": 0.1})
    assert (judged.log.column, judged.trajectory.end.verdict) == ("nce_loss", "impossible")


# --- where bytes come from ------------------------------------------------------------------------


def test_a_compressed_log_and_standard_input_are_read_as_the_file_is(tmp_path, monkeypatch):
    text = (LOGS / "sthalles" / "training.log").read_bytes()
    path = tmp_path / "training.log.gz"
    path.write_bytes(gzip.compress(text))
    assert read_log(path).loss.values[-1] == pytest.approx(1.2900601922125998)
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(text)))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert read_log("-").loss.values[-1] == pytest.approx(1.2900601922125998)


def test_a_truncated_gzip_gives_what_is_whole_and_says_so(tmp_path):
    text = lines(*(f"step {k} loss {5 - k / 1000}" for k in range(2000))).encode()
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(text)[:-200])
    log = read_log(path)
    assert len(log.loss.values) > 500
    assert "ends early" in " ".join(log.problems)


def test_a_text_without_a_loss_shows_its_first_numbers(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(lines("Epoch 1 accuracy 0.5 reward 3.25", "Epoch 2 accuracy 0.6"))
    with pytest.raises(NoLog, match=r"no column is named like a loss.*accuracy = 0\.5"):
        read_log(path)


def test_five_runs_in_a_folder_are_listed(tmp_path):
    for k in range(5):
        (tmp_path / f"run{k}").mkdir()
        (tmp_path / f"run{k}" / "train.log").write_text("step 1 loss 5\n")
    with pytest.raises(NoLog, match=r"holds 5 logs; name one of them: run0/train\.log, run1"):
        read_log(tmp_path)


def test_metrics_of_mlflow_are_columns(tmp_path):
    run = tmp_path / "mlruns" / "0" / "abc"
    for name, value in (("train_loss", 5.5), ("lr", 0.1)):
        (run / "metrics").mkdir(parents=True, exist_ok=True)
        (run / "metrics" / name).write_text(f"1690000000000 {value} 3\n")
    log = read_log(run)
    assert (log.column, log.loss.steps[0], log.loss.values[0]) == ("train_loss", 3, 5.5)


@pytest.mark.parametrize(
    "number", ["5", "-5.25", "+0.5", ".5", "5.", "1e-3", "nan", "-inf", "6.1e+00"]
)
def test_a_line_read_by_its_kind_says_what_it_says_when_read_alone(number):
    from ntxent.logs.grammar import LineReader, read_line

    read = LineReader(lambda name: True)
    for step in range(3):
        text = f"epoch 1 [{step}/390] Loss: {number} (5.1) acc -1.5, version 1.2.3"
        assert repr(read(text)) == repr(read_line(text))
        assert read(text).numbers["Loss"] == pytest.approx(float(number), nan_ok=True)


# --- settings -------------------------------------------------------------------------------------

NAMESPACE = """!!python/object:argparse.Namespace
arch: resnet18
batch_size: 256
device: !!python/object/apply:torch.device
- cuda
n_views: 2
out_dim: 128
temperature: 0.07
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("config.yml", NAMESPACE, (256, 0.07, 128)),
        (
            ".hydra/config.yaml",
            "loss:\n  temperature: 0.1\ndata:\n  batch_size: 64\n",
            (64, 0.1, None),
        ),
        (
            "training_args.json",
            '{"per_device_train_batch_size": 32, "per_device_eval_batch_size": 8}',
            (32, None, None),
        ),
        (
            "args.json",
            '{"batch-size": 32, "nt_xent_temperature": 0.2, "linear_batch_size": 9}',
            (32, 0.2, None),
        ),
        (
            "config.yaml",
            "wandb_version: 1\nbatch_size:\n  desc: null\n  value: 128\ntau: {value: 0.5}\n",
            (128, 0.5, None),
        ),
        ("params.txt", "batch_size: 64\nlr: 0.1\ntemperature: 0.07\n", (64, 0.07, None)),
        ("hparams.yaml", "net: !!python/object:evil.Thing {batch_size: 8}\n", (8, None, None)),
    ],
)
@pytest.mark.parametrize("installed", [True, False])
def test_settings_of_public_tools_are_found_with_and_without_pyyaml(
    name, text, expected, installed, tmp_path, monkeypatch
):
    from ntxent.logs import find_settings

    if not installed:
        monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    found = find_settings(tmp_path).found
    assert tuple(map(found.get, ("batch_size", "temperature", "dim"))) == expected


def test_what_a_log_itself_prints_is_a_setting():
    judged = judge_log(LOGS / "open_clip", {"batch_size": 64, "variant": "clip"})
    assert judged.convention.temperature == pytest.approx(1 / 99.995)
    assert judged.sources == {"temperature": "the log's logit scale"}
    judged = judge_log(LOGS / "hf", {"temperature": 0.05, "variant": "info_nce"})
    assert (judged.convention.batch_size, judged.sources) == (64, {"batch_size": "the log"})


def test_only_settings_that_were_taken_are_named(tmp_path):
    (tmp_path / "config.yaml").write_text("batch_size: 64\ntemperature: 0.5\n")
    (tmp_path / "metrics.csv").write_text("step,loss\n0,4.5\n")
    judged = judge_log(tmp_path, {"temperature": 0.1})
    assert list(judged.sources) == ["batch_size"]
