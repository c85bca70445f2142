import pytest

from ntxent.simclr.run.folder import RunFolder


def test_an_existing_folder_is_kept_unless_told_otherwise(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    run.summary.write_text("{}")
    (run.path / "notes.txt").write_text("mine")
    with pytest.raises(
        FileExistsError, match=r"exists; choose another --name, .*--resume .*--overwrite true"
    ):
        RunFolder.create(tmp_path, "a")
    assert run.summary.read_text() == "{}"
    assert RunFolder.create(tmp_path, "a", overwrite=True) == run
    run.clear()
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/a"])
def test_a_name_is_one_folder_name(tmp_path, name):
    with pytest.raises(ValueError, match="expected one folder name"):
        RunFolder.create(tmp_path, name, overwrite=True)
