"""Logs in the true formats of the tools: the right column, all its values, the right steps.

The expected values were read from the files by eye before there was a reader for them.
"""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

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


def lines(*rows):
    return "\n".join(rows) + "\n"


# Lines that scripts print: name, text, column, [(step, loss), ...]
TEXTS = {
    "supcontrast": (
        lines(
            "Train: [1][10/390]\tBT 0.501 (0.601)\tDT 0.001 (0.002)\tloss 6.100 (6.201)",
            "Train: [1][20/390]\tBT 0.501 (0.601)\tDT 0.001 (0.002)\tloss 5.900 (6.101)",
            "epoch 1, total time 30.20",
            "Train: [2][10/390]\tBT 0.501 (0.601)\tDT 0.001 (0.002)\tloss 5.100 (5.201)",
        ),
        "loss",
        [(10, 6.1), (20, 5.9), (400, 5.1)],
    ),
    "moco": (
        lines(
            "=> creating model 'resnet50'",
            "Epoch: [0][   0/5004]\tTime  8.5 ( 8.5)\tData  6.3 ( 6.3)\tLoss 6.9e+00 (6.9e+00)\t"
            "Acc@1 100.00 (100.00)\tAcc@5 100.00 (100.00)",
            "Epoch: [0][  10/5004]\tTime  0.5 ( 1.5)\tData  0.3 ( 0.3)\tLoss 8.1e+00 (7.9e+00)\t"
            "Acc@1   3.12 ( 14.80)\tAcc@5   5.47 ( 17.68)",
            "Epoch: [1][   0/5004]\tTime  0.5 ( 1.5)\tData  0.3 ( 0.3)\tLoss 7.1e+00 (7.9e+00)",
        ),
        "Loss",
        [(0, 6.9), (10, 8.1), (5004, 7.1)],
    ),
    "tqdm": (
        "Epoch 0:  50%|#####     | 50/100 [00:10<00:10,  5.00it/s, v_num=0, train_loss=5.120]\r"
        "Epoch 0: 100%|##########| 100/100 [00:20<00:00,  5.00it/s, v_num=0, train_loss=4.900]\r"
        "Epoch 1:  50%|#####     | 50/100 [00:10<00:10,  5.00it/s, v_num=0, train_loss=4.120]\n",
        "train_loss",
        [(50, 5.12), (100, 4.9), (150, 4.12)],
    ),
    "keras": (
        lines(
            "Epoch 1/3",
            "782/782 [=============] - 12s 15ms/step - loss: 5.1234 - val_loss: 4.9",
            "Epoch 2/3",
            "782/782 [=============] - 12s 15ms/step - loss: 4.1234 - val_loss: 3.9",
        ),
        "loss",
        [(782, 5.1234), (1564, 4.1234)],
    ),
    "nanogpt": (
        lines("step 0: train loss 4.2, val loss 4.3", "step 250: train loss 2.1, val loss 2.2"),
        "train loss",
        [(0, 4.2), (250, 2.1)],
    ),
    "hugging face at the terminal": (
        lines(
            "{'loss': 5.1, 'learning_rate': 5e-05, 'epoch': 0.5}",
            "{'loss': 4.1, 'learning_rate': 3e-05, 'epoch': 1.0}",
            "{'train_runtime': 10.0, 'train_loss': 4.6, 'epoch': 1.0}",
        ),
        "loss",
        [(0.5, 5.1), (1, 4.1)],
    ),
    "mmengine": (
        lines(
            "2023/05/01 10:00:00 - mmengine - INFO - Epoch(train)  [1][ 50/100]  lr: 1.0e-03  "
            "eta: 0:10:00  time: 0.30  data_time: 0.10  memory: 5000  loss: 9.1",
            "2023/05/01 10:01:00 - mmengine - INFO - Epoch(train)  [1][100/100]  lr: 1.0e-03  "
            "eta: 0:09:00  time: 0.30  data_time: 0.10  memory: 5000  loss: 8.1",
            "2023/05/01 10:02:00 - mmengine - INFO - Epoch(train)  [2][ 50/100]  lr: 1.0e-03  "
            "eta: 0:08:00  time: 0.30  data_time: 0.10  memory: 5000  loss: 7.1",
        ),
        "loss",
        [(50, 9.1), (100, 8.1), (150, 7.1)],
    ),
    "fairseq": (
        lines(
            '2023-05-01 10:00:00 | INFO | train_inner | {"epoch": 1, "update": 0.1, "loss": "6.1", '
            '"ppl": "70.2", "num_updates": "100", "lr": "0.001"}',
            '2023-05-01 10:01:00 | INFO | train_inner | {"epoch": 1, "update": 0.2, "loss": "5.1", '
            '"ppl": "30.2", "num_updates": "200", "lr": "0.001"}',
        ),
        "loss",
        [(100, 6.1), (200, 5.1)],
    ),
    "colours and key=value": (
        lines(
            "\x1b[32m2023-05-01 10:00:00.123\x1b[0m | \x1b[1mINFO\x1b[0m | step=10 loss=5.5",
            "\x1b[32m2023-05-01 10:00:01.123\x1b[0m | \x1b[1mINFO\x1b[0m | step=20 loss=5.0",
        ),
        "loss",
        [(10, 5.5), (20, 5.0)],
    ),
    "a table by white space": (
        lines("starting", "epoch   loss    lr", "1   5.5   0.1", "2   5.0   0.1"),
        "loss",
        [(1, 5.5), (2, 5.0)],
    ),
    "tensorflow": (
        lines(
            "INFO:tensorflow:loss = 5.5, step = 100",
            "INFO:tensorflow:global_step/sec: 10.2",
            "INFO:tensorflow:loss = 5.0, step = 200 (9.8 sec)",
        ),
        "loss",
        [(100, 5.5), (200, 5.0)],
    ),
    "a sentence": (
        lines("Loss after epoch 1: 5.5", "Loss after epoch 2: 5.0"),
        "Loss",
        [(1, 5.5), (2, 5.0)],
    ),
    "a tensor": (
        lines("loss: tensor(5.5, grad_fn=<MeanBackward0>)", "loss: tensor(5.0)"),
        "loss",
        [(0, 5.5), (1, 5.0)],
    ),
    "json lines behind something else": (
        lines(
            "wandb: starting",
            '{"train_loss": 5.5, "epoch": 0}',
            '{"train_loss": 5.0, "epoch": 1}',
        ),
        "train_loss",
        [(0, 5.5), (1, 5.0)],
    ),
    "an array of records": (
        json.dumps([{"step": 1, "loss": 5.5}, {"step": 2, "loss": 5.0}], indent=1),
        "loss",
        [(1, 5.5), (2, 5.0)],
    ),
    "columns of arrays": (
        json.dumps({"history": {"loss": [5.5, 5.0], "val_loss": [6, 6]}}),
        "history/loss",
        [(0, 5.5), (1, 5.0)],
    ),
    "named steps of all spellings": (
        lines("Global Step,Train Loss", "10,5.5", "20,5.0"),
        "Train Loss",
        [(10, 5.5), (20, 5.0)],
    ),
    "a step that restarts with each epoch": (
        lines("epoch,batch,loss", "0,0,6", "0,50,5.8", "1,0,5.5", "1,50,5"),
        "loss",
        [(0, 6), (50, 5.8), (100, 5.5), (150, 5)],
    ),
    "mlflow": (
        lines("1690000000000 5.5 0", "1690000001000 5.0 1"),
        None,
        [(0, 5.5), (1, 5.0)],
    ),
    "byol-like averages": (
        lines("Epoch [0/100]\t Loss: 5.5\t lr: 0.1", "Epoch [1/100]\t Loss: 5.0\t lr: 0.1"),
        "Loss",
        [(0, 5.5), (1, 5.0)],
    ),
    "nan and inf": (
        lines("step 1 loss nan", "step 2 loss inf", "step 3 loss 5.0"),
        "loss",
        [(1, None), (2, float("inf")), (3, 5.0)],
    ),
}


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
