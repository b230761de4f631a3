import torch

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.datamodule import DataModule
from {{ cookiecutter.package_name }}.data.sampler import TrainingSampler, image_weights
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import OWN, SMALL, composed

SKEWED = [[0]] * 900 + [[1]] * 100


def epoch_of(weights, images=0, count=1000, epoch=0):
    """The keys of an epoch, from the given number of used images."""
    sampler = TrainingSampler(range(count), 10, 1, world_size=1, rank=0)
    sampler.weights, sampler.epoch, sampler.used_images = weights, epoch, images
    return list(sampler)


def test_the_weights_are_powers_of_the_frequency_of_the_rarest_class():
    weights = image_weights([[0], [0], [0, 1], []], 0.5)
    assert torch.allclose(weights, torch.tensor([0.75, 0.75, 0.25, 0.75]).double() ** -0.5)
    assert image_weights(SKEWED, 0) is None


def test_a_rare_class_gets_its_share_of_an_epoch():
    shares = []
    for balance in (0.0, 0.5, 1.0):
        keys = epoch_of(image_weights(SKEWED, balance))
        shares.append(sum(key % 1000 >= 900 for key in keys) / len(keys))
    assert shares[0] == 0.1
    assert abs(shares[1] - 0.25) < 0.04  # 3 to 1
    assert abs(shares[2] - 0.5) < 0.05


def test_a_resumed_epoch_goes_on_with_the_same_draws():
    weights = image_weights(SKEWED, 1.0)
    assert epoch_of(weights, images=400) == epoch_of(weights)[400:]
    assert epoch_of(weights) != epoch_of(weights, epoch=1)


def test_an_image_that_is_drawn_twice_is_augmented_differently(own_data):
    words = (*SMALL, OWN, f"data.root={own_data}", "data.balance=1", "data.augment.color=0.5")
    settings = check(composed(*words), Settings)
    datasets = build_datasets(settings.data)
    assert len(datasets.weights) == len(datasets.train)
    datamodule = DataModule(datasets, settings.loader, skip_unreadable=False)
    samples = datamodule.train_dataloader().dataset
    weights = torch.zeros(len(datasets.train), dtype=torch.float64)
    weights[0] = 1
    first, second, *_ = epoch_of(weights, count=len(weights))
    assert samples[first].position == samples[second].position == 0
    assert torch.equal(samples[first].image, samples[first].image)
    assert not torch.equal(samples[first].image, samples[second].image)
