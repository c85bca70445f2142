import os

from ntxent.simclr.run.lock import locked


def test_a_lock_is_free_again_after_its_block(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            assert f"process {os.getpid()} on " in (tmp_path / "run.lock").read_text()
        assert list(tmp_path.iterdir()) == []
