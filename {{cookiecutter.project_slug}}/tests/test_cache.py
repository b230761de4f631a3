import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torchvision.transforms import v2

from {{ cookiecutter.package_name }}.data import cache as caching
from {{ cookiecutter.package_name }}.data import images
from {{ cookiecutter.package_name }}.data.cache import Fit
from {{ cookiecutter.package_name }}.data.images import Unreadable
from {{ cookiecutter.package_name }}.settings import launch
from {{ cookiecutter.package_name }}.settings.check import check
from {{ cookiecutter.package_name }}.settings.tree import Settings
from {{ cookiecutter.package_name }}.task import build_datasets

import small

OPEN = """
import sys
import time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import datasets_of
from {{ cookiecutter.package_name }}.data import images
print("ready", flush=True)
input()
read, seen = images.read_image, []
for module in list(sys.modules.values()):
    if getattr(module, "read_image", None) is read:
        module.read_image = lambda path: time.sleep(0.2) or seen.append(path) or read(path)
datasets_of(Path("own"), "disk").train.prepare()
print(len(seen))
"""


def datasets_of(root, cache, *overrides):
    words = [small.OWN, f"data.root={root}", f"data.cache={cache}", *small.SMALL, *overrides]
    with initialize_config_dir(str(launch.CONFIGS), version_base="1.3"):
        return build_datasets(check(compose("train", words), Settings).data)


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.write_own_data(tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def reads(monkeypatch):
    """The files that are decoded from here on."""
    seen, read = [], images.read_image
    for module in list(sys.modules.values()):
        if getattr(module, "read_image", None) is read:
            monkeypatch.setattr(module, "read_image", lambda path: seen.append(path) or read(path))
    return seen


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple):
        return all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_validation_sees_the_same_with_and_without(cache, own, reads):
    kept, files = datasets_of(own, cache), datasets_of(own, "null")
    kept.val.prepare()
    assert len(reads) == len(kept.val)
    samples = [kept.val[index] for index in range(len(kept.val))]
    assert len(reads) == len(kept.val)
    assert all(same(one, files.val[index]) for index, one in enumerate(samples))
    again = pickle.loads(pickle.dumps(kept.val))  # as some systems hand it to workers
    assert same(again[1], samples[1])


def test_a_later_run_decodes_only_what_it_tests(own, reads, command):
    words = (*small.SMALL, small.OWN, "data.root=own", "data.cache=disk")
    command("train", *words)
    once = len(reads)
    command("train", *words, "seed=1")
    split = len(datasets_of(own, "null").test)
    assert len(reads) - once == split
    assert once > 2 * split


def test_a_changed_image_or_setting_makes_a_new_cache(own, tmp_path):
    for _ in range(2):
        datasets_of(own, "disk").train.prepare()
    folders = {path for path in (tmp_path / "runs" / "cache").iterdir() if path.is_dir()}
    assert len(folders) == 1
    datasets_of(own, "disk", "data.image_size=64").train.prepare()
    first = datasets_of(own, "disk").train.paths[0]
    Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(first)
    changed = datasets_of(own, "disk").train
    changed.prepare()
    folders = {path for path in (tmp_path / "runs" / "cache").iterdir() if path.is_dir()}
    assert len(folders) == 3
    shown = v2.functional.resize(images.read_image(first), changed.images[0].parts[0].shape[1:])
    assert (changed.images[0].parts[0].float() - shown.float()).abs().mean() < 5


def test_two_processes_decode_once_together(own, tmp_path):
    code = OPEN.format(tests=str(small.__file__).rpartition("/")[0])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    told = [int(process.communicate()[0].split()[-1]) for process in started]
    assert sorted(told) == [0, len(datasets_of(own, "null").train)]


def test_what_a_killed_process_left_is_not_taken_for_whole(own, tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "_AT_ONCE", 1)
    monkeypatch.setattr(caching.np, "save", lambda *_: (_ for _ in ()).throw(SystemExit(137)))
    monkeypatch.setattr(caching.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(SystemExit):
        datasets_of(own, "disk").val.prepare()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert [path for path in (tmp_path / "runs" / "cache").iterdir() if path.suffix == ".part"]
    val = datasets_of(own, "disk").val
    val.prepare()
    assert same(val[0], datasets_of(own, "null").val[0])
    assert not [path for path in (tmp_path / "runs" / "cache").iterdir() if path.suffix == ".part"]


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_an_unreadable_image_stays_one(cache, own):
    train = datasets_of(own, cache).train
    Path(train.paths[3]).write_bytes(b"no image")
    train.prepare()
    assert isinstance(train[3], Unreadable)
    assert not isinstance(train[4], Unreadable)


@pytest.mark.parametrize("side", [1, 32, 97, 224])
@pytest.mark.parametrize(("height", "width"), [(375, 500), (640, 427), (97, 97), (31, 899)])
def test_the_kept_size_is_that_of_torchvision(height, width, side):
    kept = Fit(side, stretched=False).of(height, width)
    if min(height, width) > side:
        assert kept == tuple(v2.Resize(side)(torch.empty(1, height, width)).shape[1:])
    else:
        assert kept == (height, width)
