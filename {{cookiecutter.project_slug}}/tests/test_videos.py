import json
import struct
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.inference.predict_videos import (
    count_and_rate,
    read_frames,
    write_video,
)

from small import OWN

FRAMES = 23
LIMIT = 160 * 120  # pixels of a frame


@pytest.fixture
def clip(tmp_path):
    """A red square that moves to the right."""
    pictures = []
    for index in range(FRAMES):
        picture = Image.new("RGB", (161, 120), (20, 40, 200))
        picture.paste((200, 40, 20), (4 * index, 40, 4 * index + 40, 80))
        pictures.append(picture)
    write_video(tmp_path / "clip.mp4", pictures, rate=10)
    return tmp_path / "clip.mp4"


def test_a_video_is_read_as_it_was_written(clip):
    assert count_and_rate(clip, LIMIT) == (FRAMES, 10)
    frames = list(read_frames(clip, LIMIT))
    assert len(frames) == FRAMES
    assert frames[0].shape == (3, 120, 160)  # H.264 needs even sides
    for index in (0, FRAMES - 1):
        red, _, blue = frames[index][:, 60, 4 * index + 20].tolist()
        assert red > 150
        assert blue < 80
    assert [path.name for path in clip.parent.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [((1, 0, 0, 1), "top left"), ((0, 1, -1, 0), "top right"), ((-1, 0, 0, -1), "bottom right")],
)
def test_a_video_is_turned_as_its_header_says(tmp_path, matrix, corner):
    picture = Image.new("RGB", (64, 32))
    picture.paste((255, 255, 255), (0, 0, 16, 16))  # in the upper left
    write_video(tmp_path / "a.mp4", [picture] * 3, rate=10)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    start = content.index(b"tkhd") + 44  # the matrix a b u, c d v, x y w of ISO 14496-12
    a, b, c, d = (value << 16 for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    frame = list(read_frames(tmp_path / "a.mp4", LIMIT))[2]
    assert frame.shape == ((3, 64, 32) if matrix[0] == 0 else (3, 32, 64))
    bright = (frame[0] > 128).nonzero().float().mean(dim=0) / torch.tensor(frame.shape[1:])
    vertical, horizontal = (bright > 0.5).tolist()
    assert corner == f"{'bottom' if vertical else 'top'} {'right' if horizontal else 'left'}"


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_a_file_that_is_no_video_is_named(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.mp4 cannot be read: .*Invalid data"):
        list(read_frames(tmp_path / "a.mp4", LIMIT))


def test_a_video_of_larger_frames_than_the_limit_is_refused(clip):
    for read in (read_frames, count_and_rate):
        with pytest.raises(UsageError, match=r"clip\.mp4 cannot be read: its frames are larger"):
            list(read(clip, LIMIT - 1))


def test_a_video_without_frames_is_named(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        video.start_encoding()
    with pytest.raises(UsageError, match=r"a\.avi cannot be read: it has no frames"):
        list(read_frames(tmp_path / "a.avi", LIMIT))


def test_an_interrupted_video_leaves_no_file(tmp_path):
    def pictures():
        for _ in range(100):  # the encoder holds back the first frames, and writes no file
            yield Image.new("RGB", (64, 48))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", pictures(), rate=10)
    assert list(tmp_path.iterdir()) == []


def test_without_its_package_a_video_is_refused_with_the_command_to_install_it(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match="uv sync --extra video"):
        list(read_frames(clip, LIMIT))


def test_predict_annotates_videos_and_images(train, command, own_data, clip):
    run = train(OWN, f"data.root={own_data}")
    clip.rename(own_data / "clip.mp4")
    Image.new("RGB", (60, 40)).save(own_data / "clip.png")  # of the same name
    words = (
        f"checkpoint={run}/checkpoints/best.ckpt",
        f"source={own_data}/clip.*",
        "loader.batch_size=10",
        "tracking=none",
        "trainer=cpu",
        "trainer.progress=false",
    )
    result = command("predict", *words)
    pictures = sorted(path.name for path in (result / "predictions").iterdir())
    assert pictures == ["00001_clip.jpg", "clip.mp4"]
    with av.open(str(result / "predictions" / "clip.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == FRAMES
        assert video.streams.video[0].average_rate == 10
    rows = json.loads((result / "predictions.json").read_text())
    assert [row["image"] for row in rows] == [
        str(own_data / "clip.png"),
        *(f"{own_data / 'clip.mp4'}#{index}" for index in range(FRAMES)),
    ]
    (own_data / "clip.avi").write_bytes(b"no video")  # found before the other files are predicted
    with pytest.raises(SystemExit, match=r"clip\.avi cannot be read: .*Invalid data"):
        command("predict", *words, "output=results")
    assert not Path("results").exists()


def test_the_frames_before_a_fault_of_a_video_are_predicted(
    train, command, own_data, tmp_path, caplog, capsys
):
    run = train(OWN, f"data.root={own_data}")
    clip, source = tmp_path / "source" / "a.mp4", tmp_path / "source"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    write_video(clip, map(Image.fromarray, noise), rate=10)
    content = bytearray(clip.read_bytes())
    middle = len(content) * 2 // 3
    content[middle : middle + len(content) // 10] = bytes(len(content) // 10)
    clip.write_bytes(content)
    Image.new("RGB", (60, 40)).save(source / "a.png")
    words = (f"checkpoint={run}/checkpoints/best.ckpt", f"source={source}")
    words += ("loader.batch_size=2", "tracking=none", "trainer=cpu", "trainer.progress=false")
    with pytest.raises(SystemExit, match=r"a\.mp4 cannot be read: .*\n.*data.skip_unreadable=true"):
        command("predict", *words, "output=results")
    rows = json.loads(Path("results/predictions.json").read_text())  # what was predicted before it
    (source / "b.mp4").write_bytes(b"no video")
    capsys.readouterr()
    result = command("predict", *words, "data.skip_unreadable=true")
    assert f"Left out: 1 unreadable image, {source / 'b.mp4'}" in capsys.readouterr().out
    with av.open(str(result / "predictions" / "a.mp4")) as video:
        readable = sum(1 for _ in video.decode(video=0))
    assert 0 < readable < 60
    assert f"a.mp4: only {readable} frames can be read: " in caplog.text
    assert len(rows) == 1 + readable // 2 * 2  # the image, and whole batches
    assert json.loads((result / "predictions.json").read_text())[: len(rows)] == rows
