# ~ if cookiecutter.task == "segmentation"
import numpy as np
# ~ endif
import pytest
import torch
# ~ if cookiecutter.task == "segmentation"
from PIL import Image
# ~ endif
from torch.nn import functional

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
from {{ cookiecutter.package_name }}.classification.module import (
    ClassificationModule as TaskModule,
)
# ~ endif
# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.multilabel import binary_cross_entropy
# ~ endif
from {{ cookiecutter.package_name }}.inference.load_model import load_module
from {{ cookiecutter.package_name }}.run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.module import (
    SegmentationModule as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings
from {{ cookiecutter.package_name }}.training.class_weights import with_class_weights

from small import OWN, SMALL, composed


@pytest.fixture
def skewed(own_data):
    # ~ if cookiecutter.task == "classification"
    """Twenty images, of which four remain in the class red."""
    for index in range(4, 10):
        (own_data / "red" / f"{index}.jpg").unlink()
    # ~ else
    """Images of which a quarter is red."""
    for path in own_data.glob("masks/*/*.png"):
        mask = np.zeros((40, 48), np.uint8)
        mask[:, :12] = 1
        Image.fromarray(mask).save(path)
    # ~ endif
    return own_data


def weights_of(root, *words):
    settings = check(composed(*SMALL, OWN, f"data.root={root}", *words), Settings)
    datasets = build_datasets(settings.data)
    return with_class_weights(settings, datasets), datasets


def test_balanced_weights_are_those_of_scikit_learn(skewed):
    # ~ if cookiecutter.task == "classification"
    # A split of 11 to 3 training images: 14 / (2 * 11) and 14 / (2 * 3).
    settings, datasets = weights_of(skewed, "loss.class_weights=balanced")
    counts = [*datasets.reading.objects["train"].values()]
    expected = [sum(counts) / (2 * count) for count in counts]
    # ~ else
    settings, _ = weights_of(skewed, "loss.class_weights=balanced")
    expected = [2 / 3, 2]
    # ~ endif
    assert settings.loss.class_weights == pytest.approx(expected, abs=1e-5)
    assert settings.loss.class_weights[1] > 1.9


def test_the_loss_of_a_training_step_has_the_weights(skewed):
    settings, datasets = weights_of(skewed, "loss.class_weights=[1,3]", *PLAIN_LOSS)
    module = TaskModule(settings, datasets.classes)
    # ~ if cookiecutter.task == "classification"
    logits, targets = torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 0])
    loss = module.loss(logits, targets, weight=module.class_weights)
    # ~ else
    logits, targets = torch.randn(6, 2, 4, 4), torch.randint(0, 2, (6, 4, 4))
    loss = module.loss(logits, targets)
    # ~ endif
    each = functional.cross_entropy(logits, targets, reduction="none")
    factors = torch.tensor([1.0, 3.0])[targets]
    assert torch.isclose(loss, (each * factors).sum() / factors.sum())
    assert not [name for name in module.state_dict() if "class_weights" in name]


# ~ if cookiecutter.task == "classification"
PLAIN_LOSS = ()


def test_several_labels_are_weighed_by_class():
    logits, targets = torch.randn(6, 2), torch.randint(0, 2, (6, 2))
    each = functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none")
    expected = (each * torch.tensor([1.0, 3.0])).mean()
    weighted = binary_cross_entropy(logits, targets, weight=torch.tensor([1.0, 3.0]))
    assert torch.isclose(weighted, expected)


# ~ else
PLAIN_LOSS = ("model.loss=[cross_entropy]",)


# ~ endif
def test_a_run_and_its_checkpoint_store_the_weights_as_numbers(train, skewed):
    words = ("loss.class_weights=balanced", "trainer.max_epochs=1")
    run = train(OWN, f"data.root={skewed}", *words)
    stored = Run(run).settings["loss"]["class_weights"]
    assert stored[1] > stored[0]
    module = load_module(run / "checkpoints" / "best.ckpt")
    assert module.settings.loss.class_weights == stored
    assert module.class_weights.tolist() == pytest.approx(stored)
    with pytest.raises(SystemExit, match=r"has 3 numbers, but the classes are blue, red"):
        train(OWN, f"data.root={skewed}", "loss.class_weights=[1,2,3]")
    # ~ if cookiecutter.task == "segmentation"
    with pytest.raises(SystemExit, match="only cross_entropy has weights"):
        train(OWN, f"data.root={skewed}", "loss.class_weights=[1,2]", "model.loss=[dice]")
    # ~ endif
