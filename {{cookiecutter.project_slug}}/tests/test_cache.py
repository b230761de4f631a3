import pickle
import sys
from operator import itemgetter
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import resize

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data import images
from {{ cookiecutter.package_name }}.data.cache import cache_images
from {{ cookiecutter.package_name }}.data.images import Unreadable
# ~ if cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

import small

CACHE = Path("runs/cache")


def datasets_of(*overrides, cached=True):
    words = [*small.SMALL, small.OWN, "data.root=own", "data.cache=disk", *overrides]
    settings = check(small.composed(*words), Settings)
    datasets = build_datasets(settings.data)
    if cached:
        cache_images(datasets, settings)
    return datasets


def read(dataset):
    return [dataset[index] for index in range(len(dataset))]


@pytest.fixture(autouse=True)
def own(workplace):
    small.write_own_data(workplace / "own")


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded during the test."""
    paths, decode = [], images.read_image
    for module in list(sys.modules.values()):
        if getattr(module, "read_image", None) is decode:
            monkeypatch.setattr(
                module, "read_image", lambda path, *_: paths.append(str(path)) or decode(path)
            )
    return paths


def same(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, tuple):
        return all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
@pytest.mark.parametrize("size", ["32", "64", "[32,64]"])  # smaller and larger than the images
def test_validation_sees_the_same_pixels_with_and_without_the_cache(fit, size, decoded):
    words = (f"data.image_size={size}", f"data.fit={fit}")
    expected = read(datasets_of(*words, cached=False).val)
    decoded.clear()
    for _ in range(2):
        val = datasets_of(*words).val
        assert all(map(same, read(val), expected))
    assert len(decoded) == len(val)
    assert same(pickle.loads(pickle.dumps(val))[1], expected[1])  # as macOS sends it to workers


@pytest.mark.parametrize(
    ("fit", "size"), [("letterbox", [30, 36]), ("stretch", [36, 43]), ("crop", [36, 43])]
)
def test_training_images_are_stored_no_larger_than_random_crops_need(fit, size):
    train = datasets_of("data.augment.crop_scale=0.81", f"data.fit={fit}").train
    assert train[0].image.shape == (3, 32, 32)
    stored = train.images[0]
    expected = resize(images.read_image(train.paths[0]), size, antialias=True)  # 32 / sqrt(0.81)
    assert torch.equal(stored.parts[0], expected)
    assert stored.size == (40, 48)


def test_a_later_training_decodes_only_the_test_split(decoded, command):
    words = (*small.SMALL, small.OWN, "data.root=own", "data.cache=disk", "loader.batch_size=2")
    command("train", *words)
    first = len(decoded)
    command("train", *words, "seed=1")
    test = len(datasets_of().test)
    assert len(decoded) - first == 2 * test  # once to check them before the first step
    assert first > 2 * test


def test_a_changed_image_or_size_is_decoded_anew(decoded):
    read(datasets_of().train)
    decoded.clear()
    train = datasets_of().train
    Image.new("RGB", (48, 40), "white").save(train.paths[0])
    assert train.images[0].parts[0].min() > 250
    read(train)
    assert decoded == [train.paths[0]]
    read(datasets_of("data.image_size=64").train)
    assert len(decoded) == 1 + len(train)


# ~ if cookiecutter.task == "segmentation"
def test_changed_masks_and_colours_are_decoded_anew():
    def ids():
        return datasets_of("data.fit=stretch").val[0].target.unique().tolist()

    assert ids() == [0, 1]
    Image.new("L", (48, 40), 1).save("own/masks/val/0.png")
    assert ids() == [1]
    Image.new("RGB", (48, 40), "red").save("own/masks/val/0.png")
    for names, expected in (("blue 0 0 255\nred 255 0 0", 1), ("red 255 0 0\nblue 0 0 255", 0)):
        Path("own/classes.txt").write_text(names)
        assert ids() == [expected]


# ~ endif
def test_several_processes_can_fill_the_cache_at_the_same_time():
    val = datasets_of().val
    indices = [index for index in range(len(val)) for _ in range(2)]
    loader = DataLoader(
        val, batch_size=None, sampler=indices, num_workers=2, collate_fn=itemgetter(0)
    )
    expected = [sample.image for sample in read(datasets_of(cached=False).val)]
    assert all(map(torch.equal, loader, [expected[index] for index in indices]))
    assert len([path for path in CACHE.rglob("*") if path.is_file()]) == len(val)


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_that_is_read(monkeypatch):
    def killed(path, content):
        path.open("wb").write(content[: len(content) // 2])
        raise KeyboardInterrupt

    expected = datasets_of(cached=False).val[0]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            datasets_of().val[0]
    (rest,) = (path for path in CACHE.rglob("*") if path.is_file())
    assert same(datasets_of().val[0], expected)
    rest.unlink()
    (stored,) = (path for path in CACHE.rglob("*") if path.is_file())
    whole = stored.read_bytes()
    # As the crash of a machine may leave it.
    for content in (b"", whole[: len(whole) // 2], bytes(len(whole))):
        stored.write_bytes(content)
        assert same(datasets_of().val[0], expected)


def test_a_cache_that_cannot_be_written_costs_speed_but_not_the_training():
    CACHE.parent.mkdir()
    CACHE.write_text("a file in place of the folder")
    with pytest.warns(UserWarning, match=r"data\.cache_folder=runs/cache cannot be written"):
        sample = datasets_of().val[0]
    assert same(sample, datasets_of(cached=False).val[0])


def test_an_unreadable_image_is_not_stored():
    train = datasets_of().train
    Path(train.paths[3]).write_bytes(b"no image")
    Path(train.paths[4]).unlink()
    assert [isinstance(sample, Unreadable) for sample in read(train)[2:6]] == [0, 1, 1, 0]
