import json

import pytest
import torch
from torch import nn

# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.boxes import (
    Prediction,
)
# ~ endif
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.evaluation.tta import (
    AveragedNetwork,
    # ~ if cookiecutter.task == "detection"
    merge,
    # ~ endif
    scaled_sides,
)


def test_evaluate_and_predict_average_over_changed_copies(train, command, own_data):
    run = train()
    words = (f"checkpoint={run}/checkpoints/best.ckpt", "trainer=cpu", "tracking=none")
    scores = []
    for tta in ("none", "flip", "multiscale"):
        evaluated = command("evaluate", *words, "data.image_size=128", f"tta={tta}")
        metrics = json.loads((evaluated / "metrics.json").read_text())
        measured = {name: value for name, value in metrics.items() if name.startswith("test/")}
        scores.append(f"{measured}\n{(evaluated / 'precision_recall.csv').read_text()}")
        predicted = command("predict", *words, f"source={own_data}", f"tta={tta}")
        assert len(json.loads((predicted / "predictions.json").read_text())) >= 20
    assert len({*scores}) == 3


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 320), [(480, 224), (800, 416)]),
        ((128, 64), [(96, 32), (160, 96)]),
        ((32, 32), [(64, 64)]),
        ((28, 28), [(32, 32), (64, 64)]),
    ],
)
def test_scaled_copies_differ_from_the_image_in_size(size, expected):
    assert scaled_sides(size) == expected


class Fails(nn.Module):
    """Raises an error for images of other sides than 64 pixels."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, images):
        if images.shape[2] != 64:
            raise self.error
        return images


@pytest.mark.parametrize(
    ("error", "about_size"),
    [
        (AssertionError("Input height (96) doesn't match model (64)."), True),
        (RuntimeError("Wrong input shape height=33, width=33."), True),
        (RuntimeError("selected index k out of range"), True),  # fewer positions than queries
        (torch.OutOfMemoryError("Tried to allocate 2 GiB. Size of the pool ..."), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_only_errors_about_the_size_say_that_a_network_has_a_single_size(error, about_size):
    network = AveragedNetwork(Fails(error), "multiscale")
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with pytest.raises(UsageError if about_size else type(error)) as raised:
        network(images)
    assert ("does not accept the copies" in str(raised.value)) == about_size


# ~ if cookiecutter.task == "classification"
class ByPosition(nn.Module):
    """The logit of class 0 is the brightness of the left half, that of class 1 of the right."""

    def forward(self, images):
        left, right = images.float().mean(dim=(1, 2)).chunk(2, dim=1)
        return torch.stack([left.mean(dim=1), right.mean(dim=1)], dim=1)


def test_flipping_averages_the_probabilities_of_a_model_that_answers_by_position():
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    images[..., :16] = 2  # logits 2 and 0, mirrored 0 and 2
    assert AveragedNetwork(ByPosition(), "flip")(images).softmax(dim=1).tolist() == [[0.5, 0.5]]
    several = AveragedNetwork(ByPosition(), "flip", several=True)(images).sigmoid()
    expected = (torch.tensor(2.0).sigmoid() + 0.5) / 2
    torch.testing.assert_close(several, expected.expand(1, 2))
# ~ elif cookiecutter.task == "segmentation"
class ByPosition(nn.Module):
    """Answers class 0 in the left half of the image and class 1 in the right half."""

    def forward(self, images):
        right = torch.arange(images.shape[3]) >= images.shape[3] // 2
        logits = torch.stack([~right, right]).float() * 2
        return logits[None, :, None].expand(len(images), -1, images.shape[2], -1)


def test_flipping_averages_the_probabilities_of_a_model_that_answers_by_position():
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    logits = AveragedNetwork(ByPosition(), "flip")(images)
    torch.testing.assert_close(logits.softmax(dim=1), torch.full((2, 2, 32, 32), 0.5))


def test_the_mirrored_image_is_predicted_and_its_probabilities_are_averaged():
    def shifted(images):
        """Return the logits of two classes: the brightness of the pixel on the left, and 0."""
        left = images[:, :1].float().roll(1, dims=3)
        return torch.cat([left, torch.zeros_like(left)], dim=1)

    image = torch.tensor([[1, 0, 3, 2]], dtype=torch.uint8).expand(1, 3, 1, 4)
    from_left, from_right = torch.tensor([2.0, 1, 0, 3]), torch.tensor([0.0, 3, 2, 1])
    network = nn.Identity()
    network.forward = shifted
    averaged = AveragedNetwork(network, "flip")(image).softmax(dim=1)[0, 0, 0]
    torch.testing.assert_close(averaged, (from_left.sigmoid() + from_right.sigmoid()) / 2)


def test_the_masks_of_all_scales_come_out_in_the_size_of_the_image():
    logits = AveragedNetwork(ByPosition(), "multiscale")(
        torch.zeros(1, 3, 64, 128, dtype=torch.uint8)
    )
    assert logits.shape == (1, 2, 64, 128)
    assert logits.argmax(dim=1)[0, 0].equal((torch.arange(128) >= 64).long())
# ~ else
class ByPosition(nn.Module):
    """Finds an object in the upper left corner, and a second one if the left is bright."""

    def forward(self, images):
        boxes = torch.tensor([[0.1, 0.1, 0.3, 0.4], [0.2, 0.5, 0.8, 0.9]])
        scores, labels = torch.tensor([0.8, 0.6]), torch.tensor([0, 1])
        both = Prediction(boxes, scores, labels)
        first = Prediction(boxes[:1], scores[:1], labels[:1])
        return [both if image[0, 0, 0] else first for image in images]


def test_flipping_averages_the_boxes_of_a_model_that_answers_by_position():
    images = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    (found,) = AveragedNetwork(ByPosition(), "flip")(images)
    torch.testing.assert_close(found.scores, torch.tensor([0.6, 0.4, 0.4]))
    assert found.labels.tolist() == [1, 0, 0]
    expected = [[0.1, 0.1, 0.3, 0.4], [0.2, 0.5, 0.8, 0.9], [0.7, 0.1, 0.9, 0.4]]
    torch.testing.assert_close(torch.tensor(sorted(found.boxes.tolist())), torch.tensor(expected))


def test_boxes_of_all_scales_are_one_and_an_object_of_a_single_copy_counts_less():
    images = torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)
    (found,) = AveragedNetwork(ByPosition(), "multiscale")(images)
    torch.testing.assert_close(found.scores, torch.tensor([0.8, 0.6]))
    images[:] = 0
    (found,) = AveragedNetwork(ByPosition(), "multiscale")(images)
    assert found.labels.tolist() == [0]


def test_a_box_is_averaged_with_those_of_its_class_also_if_another_class_is_nearer():
    first = Prediction(
        torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.6, 0.5]]),
        torch.tensor([0.8, 0.6]),
        torch.tensor([0, 1]),
    )
    second = Prediction(
        torch.tensor([[0.1, 0.1, 0.51, 0.5]]), torch.tensor([0.5]), torch.tensor([1])
    )
    merged = merge([first, second])
    assert merged.labels.tolist() == [1, 0]
    torch.testing.assert_close(merged.scores, torch.tensor([0.55, 0.4]))
    right = (0.6 * 0.6 + 0.5 * 0.51) / 1.1
    expected = torch.tensor([[0.1, 0.1, right, 0.5], [0.1, 0.1, 0.5, 0.5]])
    torch.testing.assert_close(merged.boxes, expected)
# ~ endif
