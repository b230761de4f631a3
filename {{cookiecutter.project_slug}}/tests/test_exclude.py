from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.data.split import without_excluded
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.data import DataFolder


def excluded(names, listed, reading):
    """The names of the training images that remain."""
    root = listed.parent
    folder = DataFolder.model_construct(root=root, exclude=listed)
    return without_excluded({"train": names}, folder, reading, lambda name: root / name)["train"]


def test_images_that_a_file_lists_are_left_out_and_counted(tmp_path):
    names = [f"{index}.jpg" for index in range(10)]
    listed = tmp_path / "exclude.txt"
    listed.write_text(f"# 1.jpg\n2.jpg\n\n{tmp_path}/3.jpg\n33.jpg\n")
    reading = Reading()
    parts = excluded(names, listed, reading)
    assert parts == [*names[:2], *names[4:]]
    (left_out,) = reading.left_out
    assert (left_out.count, left_out.reason) == (2, f"in {listed}")
    assert reading.notes == [f"{listed} lists 1 image not in the data, such as 33.jpg."]


def test_an_absolute_path_is_known_below_a_relative_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("exclude.txt").write_text(f"{tmp_path}/1.jpg\n")
    assert excluded(["1.jpg", "2.jpg"], Path("exclude.txt"), Reading()) == ["2.jpg"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there is no such file"),
        ("0.jpg\n1.jpg\n", r"of train\.\nRemove images from this list"),
    ],
)
def test_a_file_that_lists_nothing_or_all_images_is_refused(tmp_path, text, reason):
    listed = tmp_path / "exclude.txt"
    if text is not None:
        listed.write_text(text)
    with pytest.raises(UsageError, match=reason):
        excluded(["0.jpg", "1.jpg"], listed, Reading())
