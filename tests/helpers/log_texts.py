"""What training scripts print, in small: the text, the column of the loss, its steps and values."""

import json

__all__ = ["TEXTS", "lines"]


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
