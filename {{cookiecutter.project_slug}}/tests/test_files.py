import os
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.data.files import (
    files_below,
    folders_in,
    list_images,
    split_folders,
)
from {{ cookiecutter.package_name }}.data.files_to_predict import find_sources
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.errors import UsageError


def touch(root, *names):
    """Make empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def below(root, paths):
    return [Path(path).relative_to(root).as_posix() for path in paths]


def test_sources_are_found_by_file_folder_and_glob(tmp_path, caplog):
    touch(tmp_path, "b.png", "a.JPG", "below/c.png", "notes.txt", ".hidden/d.png", "raw.CR2")
    assert below(tmp_path, find_sources(str(tmp_path))) == ["a.JPG", "b.png", "below/c.png"]
    (message,) = caplog.messages
    assert message.startswith("Files of formats that are not supported are left out: 1.")
    assert str(tmp_path / "raw.CR2") in message
    assert below(tmp_path, find_sources(str(tmp_path / "b.png"))) == ["b.png"]
    assert below(tmp_path, find_sources(str(tmp_path / "*.png"))) == ["b.png"]


def test_a_source_without_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no file that can be predicted"):
        find_sources(str(tmp_path))


def test_images_are_found_at_any_depth_in_order(tmp_path):
    touch(tmp_path, "b.JPG", "a/z.png", "a/c/y.webp", "a.jpeg", "a/notes.txt")
    (tmp_path / "linked.jpg").symlink_to(tmp_path / "b.JPG")
    found = below(tmp_path, list_images(tmp_path).images)
    assert found == ["a/c/y.webp", "a/z.png", "a.jpeg", "b.JPG", "linked.jpg"]


def test_hidden_and_system_files_are_no_data_and_unsupported_images_are_counted(tmp_path):
    root = tmp_path / ".cache" / "photos"  # the folder itself may be hidden
    touch(
        root, "a.jpg", "._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/cat/a.jpg", "@eaDir/b.jpg"
    )
    touch(root, "#recycle/a.jpg", "$Recycle.Bin/a.jpg", "System Volume Information/a.jpg")
    touch(root, "cat/b.CR2", "cat/c.jxl", "cat/film.mp4", "cat/notes.txt", "v1.2/photo")
    touch(
        root,
        "cat/x.jpg.txt",
        "cat/x.tif.aux.xml",
        "cat/x.png___objects.json",
        "cat/y.jpg_large",
        "cat/z.PNG~",
        "v1.2/d.jpg.part",
    )
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "itself.jpg").symlink_to(root / "itself.jpg")
    listed = list_images(root)
    assert below(root, listed.images) == ["a.jpg"]
    unsupported = ["cat/b.CR2", "cat/c.jxl", "cat/film.mp4"]
    unsupported += ["cat/y.jpg_large", "cat/z.PNG~", "v1.2/d.jpg.part", "v1.2/photo"]
    assert below(root, listed.unsupported) == unsupported
    assert below(root, listed.skipped) == [
        "#recycle", "$Recycle.Bin", "._a.jpg", ".ipynb_checkpoints", "@eaDir",
        "System Volume Information", "__MACOSX", "gone.jpg", "itself.jpg",
    ]  # fmt: skip
    assert folders_in(root) == ["cat", "v1.2"]
    reading = Reading()
    reading.add_unused_images(root, [root / "a.jpg"], "unused")
    reasons = [(part.kind, part.reason, part.count) for part in reading.left_out]
    assert ("files", "no suffix, not read", 1) in reasons
    assert ("images", ".cr2 is not read", 1) in reasons


def test_links_to_folders_are_followed_once_and_never_in_a_circle(tmp_path):
    root = tmp_path / "photos"
    touch(root, "a/1.jpg", "b/2.jpg")
    touch(tmp_path, "elsewhere/3.jpg")
    for name, target in {
        "again": "photos/a",
        "c": "elsewhere",
        "d": "elsewhere",
        "up": ".",
        "a/circle": "photos",
    }.items():
        (root / name).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path, target_is_directory=True)
    assert below(root, list_images(root).images) == ["a/1.jpg", "b/2.jpg", "c/3.jpg"]
    assert folders_in(root) == ["a", "again", "b", "c", "d", "up"]


def test_files_that_links_show_twice_are_noted(tmp_path):
    touch(tmp_path, "train/1.jpg", "train/2.jpg")
    (tmp_path / "val").symlink_to(tmp_path / "train", target_is_directory=True)
    for used, notes in ((["train/1.jpg", "val/1.jpg"], 1), (["train/1.jpg", "val/2.jpg"], 0)):
        reading = Reading()
        reading.add_unused_images(tmp_path, [tmp_path / name for name in used], "unused")
        assert len(reading.notes) == notes
        expected = f"Files that are used twice: 1, since links such as {tmp_path / 'val'} lead"
        assert all(note.startswith(expected) for note in reading.notes)
        left_out = {part.kind: (part.count, part.first) for part in reading.left_out}
        assert left_out["links"] == (1, str(tmp_path / "val"))


def test_split_folders_are_found_by_their_usual_names_in_any_case(tmp_path):
    touch(tmp_path, "Training/1.jpg", "VALID/1.jpg", "cat/1.jpg", "testing")
    assert split_folders(tmp_path) == {"train": tmp_path / "Training", "val": tmp_path / "VALID"}
    touch(tmp_path, "dev/1.jpg")
    with pytest.raises(UsageError, match="several folders for val: VALID, dev"):
        split_folders(tmp_path)


def test_listing_files_does_not_call_stat_for_each(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"{number}.jpg").touch()
    calls, stat = [], os.stat

    def counted_stat(*args, **options):
        calls.append(args)
        return stat(*args, **options)

    monkeypatch.setattr(os, "stat", counted_stat)
    assert len(files_below(tmp_path)) == 20
    assert not calls
    assert len([path for path in tmp_path.iterdir() if path.stat()]) == len(calls) == 20


def test_the_images_of_a_folder_are_the_same_when_taken_from_the_listing_of_the_data(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/b/2.jpg", "a.jpg", "a b/3.jpg", "ab/4.jpg", ".hidden/5.jpg")
    touch(tmp_path, "a/\U0010ffff.jpg", "empty/notes.txt")
    names = ["a", "a/b", "a b", "ab", "empty", ".hidden", "."]
    listed = list_images(tmp_path)
    found = below(tmp_path, listed.images_in(tmp_path / "a"))
    assert found == ["a/1.jpg", "a/b/2.jpg", "a/\U0010ffff.jpg"]
    for name in names:
        assert listed.images_in(tmp_path / name) == list_images(tmp_path / name).images
    (tmp_path / "ab" / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    listed = list_images(tmp_path)
    assert below(tmp_path, listed.images_in(tmp_path / "ab"))[-1] == "ab/link/\U0010ffff.jpg"
    for name in names:
        assert listed.images_in(tmp_path / name) == list_images(tmp_path / name).images


def test_the_files_of_a_data_set_are_listed_once(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    reading, opened, scandir = Reading(), [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(path) or scandir(path))
    used = reading.listed(tmp_path).images_in(tmp_path / "a")
    used += reading.listed(tmp_path).images_in(tmp_path / "b")
    reading.add_unused_images(tmp_path, used, "unused")
    assert sorted(map(str, opened)) == [str(tmp_path), *(f"{tmp_path}/{name}" for name in "abc")]
    assert [(part.count, part.first) for part in reading.left_out] == [(1, f"{tmp_path}/c/3.jpg")]
