"""Write the encoder of a run: its weights as safetensors, or all of it as ONNX."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_folder", type=str, metavar="run", help="Folder of a finished run.")
    parser.add_argument(
        "--onnx", type=Path | None, help="File of the whole computation, images to features."
    )
    parser.add_argument(
        "--safetensors", type=Path | None, help="File of the weights by their names."
    )


def run(options: Any) -> int:
    if options.onnx is None and options.safetensors is None:
        raise ValueError("export: received no file, expected --onnx PATH or --safetensors PATH")

    from ntxent.simclr.run.export import write_onnx, write_safetensors
    from ntxent.simclr.run.trained import TrainedRun
    from ntxent.simclr.stages import ConsoleStages

    model = TrainedRun(options.run_folder).model
    encoder, shape = model.encoder, model.views.shape
    axes = ", ".join(map(str, shape))
    if options.onnx is not None:
        with ConsoleStages()(f"writing {options.onnx.name}"):
            write_onnx(encoder, shape, options.onnx)
        print(f"{options.onnx}  images [n, {axes}] in [0, 1] to features")
    if options.safetensors is not None:
        write_safetensors(encoder, options.safetensors)
        print(f"{options.safetensors}  {len(encoder.state_dict())} tensors by name")
    return 0
