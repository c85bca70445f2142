import yaml

from ntxent.simclr import OptimizerConfig, TrainConfig
from ntxent.simclr.run.config_file import read_config, write_config
from ntxent.simclr.run.folder import RunFolder


def test_a_written_configuration_is_read_again(tmp_path):
    config = TrainConfig(
        name="a",
        epochs=2,
        optimizer=OptimizerConfig(name="lars", exclude_vectors=False, clip_norm=1.0),
        loggers=({"class_path": "lightning.pytorch.loggers.CSVLogger"},),
    )
    write_config(config, RunFolder(tmp_path))
    assert read_config(RunFolder(tmp_path)) == config
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del values["precision"]  # a run of an earlier version
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert read_config(RunFolder(tmp_path)) == config
