import pytest
import torch
# ~ if cookiecutter.task == "detection"
from torchvision import tv_tensors
# ~ endif
from torchvision.transforms import v2

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.augment import add_noise, random_steps
# ~ if cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.data.sampler import SeededSamples
# ~ endif
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.boxes import Target
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.detection.transforms import join
# ~ elif cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.class_list import IGNORE_INDEX
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.transforms import paste
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import SHAPES, SMALL, composed

PRESETS = ("none", "light", "strong", "aerial", "industrial")


def settings_of(*words):
    return check(composed(*SMALL, *SHAPES, *words), Settings)


def changed(image, *words, seed=0):
    """The image after the steps of ``augment=none`` and the given overrides."""
    data = settings_of("augment=none", *words).data
    torch.manual_seed(seed)
    return v2.Compose(random_steps(data.augment, data.channels))(image)


def test_a_preset_sets_every_value_and_an_override_wins():
    chosen = {name: settings_of(f"augment={name}").data.augment for name in PRESETS}
    assert all(chosen[name].model_fields_set == chosen["none"].model_fields_set for name in PRESETS)
    assert not any(
        value for name, value in chosen["none"].model_dump().items() if name != "crop_scale"
    )
    assert chosen["aerial"].rotate == 180
    assert settings_of("augment=aerial", "data.augment.rotate=3").data.augment.rotate == 3
    assert settings_of("augment=strong", "debug=overfit").data.augment == chosen["none"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_images_of_the_model_input(workplace, name):
    settings = settings_of(f"augment={name}")
    datasets = build_datasets(settings.data)
    images = [datasets.train[index].image for index in range(8)]
    assert {(image.shape, image.dtype) for image in images} == {((3, 32, 32), torch.uint8)}
    datasets.train.transform, plain = datasets.val.transform, images
    evaluated = [datasets.train[index].image for index in range(8)]
    assert all(map(torch.equal, plain, evaluated)) == (name == "none")


def test_an_image_is_turned_upside_down():
    image = torch.zeros((3, 4, 6), dtype=torch.uint8)
    image[:, 0, 1] = 200
    flipped = changed(image, "data.augment.flip_vertical=1")
    assert flipped.nonzero().tolist() == [[channel, 3, 1] for channel in range(3)]


def test_noise_has_at_most_its_standard_deviation():
    image = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    deviations = []
    for seed in range(20):
        torch.manual_seed(seed)
        deviations.append(add_noise(image, 0.1).float().std().item())
    assert 20 < max(deviations) < 26.5
    assert min(deviations) < 10


def test_a_blur_smooths_an_edge_and_keeps_the_rest():
    image = torch.zeros((3, 32, 32), dtype=torch.uint8)
    image[..., 16:] = 200
    blurred = changed(image, "data.augment.blur=1")
    assert 0 < blurred[0, 16, 15] < 200
    assert (blurred[0, 16, 0], blurred[0, 16, 31]) == (0, 200)


# ~ if cookiecutter.task == "classification"
def test_an_image_is_turned_by_at_most_the_given_angle():
    image = torch.zeros((3, 65, 65), dtype=torch.uint8)
    image[:, 31:34, 62:65] = 200  # at the right of the centre
    angles = []
    for seed in range(30):
        turned = changed(image, "data.augment.rotate=30", seed=seed)
        row, column = (turned[0] == turned[0].max()).nonzero().float().mean(dim=0)
        angles.append(torch.atan2(32 - row, column - 32).rad2deg().item())
    assert -31 < min(angles) < -15
    assert 15 < max(angles) < 31


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
def test_a_policy_changes_images_of_three_channels_and_repeats_itself(policy):
    image = torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8)
    word = f"data.augment.policy={policy}"
    results = [changed(image, word, seed=seed) for seed in range(5)]
    assert any(not torch.equal(image, result) for result in results)
    assert torch.equal(changed(image, word, seed=3), results[3])


# ~ elif cookiecutter.task == "detection"
def test_boxes_move_with_a_flip_and_stay_under_the_other_changes():
    image = tv_tensors.Image(torch.zeros((3, 40, 60), dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes([[5, 2, 20, 10]], format="XYXY", canvas_size=(40, 60))
    augment = settings_of("augment=industrial", "data.augment.flip=0").data.augment
    steps = v2.Compose(random_steps(augment.model_copy(update={"flip_vertical": 1.0}), 3))
    _, moved = steps(image, boxes)
    assert moved.tolist() == [[5, 30, 20, 38]]


def marked(label, box):
    """An image of 64 x 64 pixels with a bright rectangle in a channel, and its target."""
    left, top, right, bottom = box
    image = torch.zeros((4, 64, 64), dtype=torch.uint8)
    image[label, top:bottom, left:right] = 200
    one = torch.ones(1)
    return image, Target(torch.tensor([box]) / 64, torch.tensor([label]), one < 0, one, (64, 64))


def test_the_boxes_of_a_mosaic_are_those_of_its_pixels():
    boxes = [(24, 24, 60, 56), (4, 24, 40, 56), (24, 4, 60, 40), (4, 4, 40, 40)]
    labels = []
    for seed in range(8):
        torch.manual_seed(seed)
        image, target = join([marked(label, box) for label, box in enumerate(boxes)])
        assert image.shape == (4, 64, 64)
        labels += target.labels.tolist()
        for label, box in zip(target.labels.tolist(), target.boxes * 64, strict=True):
            rows, columns = (image[label] > 100).nonzero().T  # the edges are blurred
            ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            torch.testing.assert_close(box, torch.tensor(ends).float(), atol=0.6, rtol=0)
    assert {*labels} == {0, 1, 2, 3}


def test_a_mosaic_leaves_out_objects_of_which_little_is_seen(monkeypatch):
    pairs = [marked(label, (0, 0, 20, 20)) for label in range(4)]
    drawn = torch.tensor([0.0, 0.25, 0.0])  # the part begins in row 16 of 128, and has 64 rows
    monkeypatch.setattr(torch, "rand", lambda *_: drawn)
    _, target = join(pairs)
    assert target.labels.tolist() == [2]  # 4 rows of the first are left, and nothing of the others
    assert target.boxes.tolist() == [[0, 0.75, 20 / 64, 1]]
    drawn[1] = 14 / 64
    assert join(pairs)[1].labels.tolist() == [0, 2]  # 6 rows of the first, that is 0.3


# ~ elif cookiecutter.task == "segmentation"
def scene(value, background, **objects):
    """An image of one value with its mask; objects are rows of the mask."""
    image = torch.full((3, 5, 4), value, dtype=torch.uint8)
    mask = torch.full((5, 4), background, dtype=torch.uint8)
    for row, label in objects.items():
        mask[int(row[-1])] = label
    return image, mask


def test_objects_are_pasted_with_their_pixels_and_their_mask():
    target, source = scene(10, 0, row0=1), scene(90, 0, row0=2, row1=3, row2=IGNORE_INDEX)
    pasted = set()
    for seed in range(12):
        torch.manual_seed(seed)
        image, mask = paste([target, source], 0.5)
        for row, (before, after) in enumerate([(1, 2), (0, 3), *[(0, None)] * 3]):
            is_new = mask[row, 0] == after
            assert (mask[row] == (after if is_new else before)).all()
            assert (image[:, row] == (90 if is_new else 10)).all()
        pasted.add(tuple(mask[:2, 0].tolist()))
    assert pasted == {(1, 0), (1, 3), (2, 0), (2, 3)}
    assert target[1][0].tolist() == [1] * 4  # the original is not changed


def test_the_background_is_never_pasted_however_small_it_is():
    for source in (scene(90, 0), scene(90, IGNORE_INDEX), scene(90, 2, row0=0, row1=0)):
        image, mask = paste([scene(10, 1), source], 1.0)
        objects = source[1] == 2
        assert torch.equal(image[0], torch.where(objects, 90, 10).byte())
        assert torch.equal(mask, torch.where(objects, 2, 1).byte())


# ~ endif
# ~ if cookiecutter.task != "classification"
def test_joined_images_depend_on_seed_epoch_and_image_only(workplace):
    # ~ if cookiecutter.task == "detection"
    settings = settings_of("augment=none", "data.augment.mosaic=0.5")
    # ~ else
    settings = settings_of("augment=none", "data.augment.copy_paste=0.2")
    # ~ endif
    train = build_datasets(settings.data).train

    def images(seed, epoch, order):
        samples = SeededSamples(train, seed)
        return {index: samples[epoch * len(train) + index].image for index in order}

    first = images(0, 1, range(12))
    again = images(0, 1, reversed(range(12)))
    assert all(torch.equal(first[index], again[index]) for index in first)
    for other in (images(1, 1, first), images(0, 2, first)):
        assert not all(torch.equal(first[index], other[index]) for index in first)
    single = build_datasets(settings_of("augment=none").data).train
    joined = sum(not torch.equal(first[index], single[index].image) for index in first)
    assert 2 <= joined <= 10


# ~ endif
def test_a_rectangle_is_erased_and_the_rest_stays():
    image = torch.randint(0, 100, (3, 40, 40), dtype=torch.uint8)
    erased = changed(image, "data.augment.erase=1", seed=1)
    grey = (erased == 128).all(dim=0)
    rows, columns = grey.any(dim=1).sum(), grey.any(dim=0).sum()
    assert grey.sum() == rows * columns
    assert 0.01 < grey.float().mean() < 0.22
    assert torch.equal(erased[:, ~grey], image[:, ~grey])
