import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn
from torch.nn import functional
from torchmetrics.classification import MulticlassConfusionMatrix

from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.inference.load_model import load_module
from {{ cookiecutter.package_name }}.segmentation.class_list import read_classes
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.draw import describe
from {{ cookiecutter.package_name }}.segmentation.module import PixelConfusion, overlap
from {{ cookiecutter.package_name }}.segmentation.network import Segmenter
from {{ cookiecutter.package_name }}.segmentation.predicted_masks import Prediction
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import composed


def scores_by_hand(targets, predictions, classes):
    """Pixel by pixel, without a matrix; pixels of id 255 do not count."""
    iou, dice = [], []
    for index in range(classes):
        target = (targets == index) & (targets != 255)
        prediction = (predictions == index) & (targets != 255)
        both = (target & prediction).sum()
        if target.sum() + prediction.sum():
            iou.append(both / (target | prediction).sum())
            dice.append(2 * both / (target.sum() + prediction.sum()))
    return float(np.mean(iou)), float(np.mean(dice))


def test_the_scores_are_those_of_a_plain_computation():
    rng = np.random.default_rng(0)
    targets, predictions = rng.integers(0, 5, size=(2, 1000))
    counts = np.zeros((6, 6), dtype=np.int64)  # the sixth class is absent
    np.add.at(counts, (targets, predictions), 1)
    iou, dice = overlap(torch.from_numpy(counts))
    expected = scores_by_hand(targets, predictions, 6)
    assert (iou.nanmean().item(), dice.nanmean().item()) == pytest.approx(expected, abs=1e-6)


def test_the_test_metrics_are_those_of_the_averaged_weights_in_the_checkpoint(train):
    run = train("ema.decay=0.9")
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    trained = content["trained_weights"]["weights"]
    state = content["state_dict"]
    assert any(not torch.equal(trained[name], value) for name, value in state.items())
    module = load_module(run / "checkpoints/best.ckpt")
    settings = Settings.model_validate(yaml.safe_load((run / "config.yaml").read_text()))
    dataset = build_datasets(settings.data).test
    samples = [dataset[index] for index in range(len(dataset))]
    with torch.inference_mode():
        predictions = module.predict_images(torch.stack([sample.image for sample in samples]))
    expected = scores_by_hand(
        np.stack([sample.target.numpy() for sample in samples]),
        np.stack([prediction.mask.numpy() for prediction in predictions]),
        len(module.classes),
    )
    reported = json.loads((run / "metrics.json").read_text())
    assert (reported["test/mIoU"], reported["test/dice"]) == pytest.approx(expected, abs=1e-5)


def test_an_untrained_model_guesses(train):
    run = train("data.val_images=50", "optimizer.lr=1e-9", "trainer.max_epochs=1")
    assert json.loads((run / "metrics.json").read_text())["test/mIoU"] < 0.25


def test_each_class_is_reported(train):
    measured = json.loads((train() / "metrics.json").read_text())
    names = ["background", "circle", "cross", "square", "star", "triangle"]
    assert list(measured["iou_by_class"]) == list(measured["dice_by_class"]) == names
    for label, iou in measured["iou_by_class"].items():
        dice = measured["dice_by_class"][label]
        assert dice == pytest.approx(2 * iou / (1 + iou), abs=1e-5)


def test_predict_writes_masks_of_the_size_of_the_images(train, command, own_data, capsys):
    run = train("data=maskfolder", f"data.root={own_data}")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    Image.new("RGB", (60, 40)).save(own_data / "images" / "val" / "turned.jpg", exif=exif)
    result = command(
        "predict",
        f"checkpoint={run}/checkpoints/best.ckpt",
        f"source={own_data}/images/val",
        "tracking=none",
        "trainer=cpu",
    )
    assert "/masks\n" in capsys.readouterr().out
    masks = sorted((result / "masks").glob("*.png"))
    names = [f"{index}.png" for index in range(10)]
    assert [path.name for path in masks] == [*names, "turned.png"]
    with Image.open(masks[-1]) as mask:
        assert mask.size == (40, 60)
    with Image.open(masks[0]) as mask:
        assert (mask.mode, mask.size) == ("P", (48, 40))
        assert set(np.unique(np.asarray(mask))) <= {0, 1}
        expected = np.array(mask.convert("RGB"))[0, 0].tolist()
    legend = read_classes(result / "masks" / "classes.txt")
    assert legend.names == ["blue", "red"]
    assert {*legend.colors} >= {int("{:02x}{:02x}{:02x}".format(*expected), 16)}
    for row in json.loads((result / "predictions.json").read_text()):
        assert row["blue"] + row["red"] == pytest.approx(1, abs=1e-5)


ARCHITECTURES = ["unet", "unetplusplus", "manet", "fpn", "pan", "upernet", "segformer"]


@pytest.mark.parametrize("name", [*ARCHITECTURES, "deeplabv3", "deeplabv3plus"])
def test_decoder_channels_is_the_width_of_the_decoder_of_every_architecture(name):
    widths = []
    for channels in (80, 112):
        words = (f"model.architecture={name}", f"model.decoder_channels={channels}")
        layers = Segmenter(check(composed(*words), Settings), 2).model.decoder.modules()
        widths.append({layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)})
    assert [width in found for found in widths for width in (80, 112)] == [True, False, False, True]


def test_an_unknown_architecture_lists_the_known_ones(train):
    with pytest.raises(SystemExit) as stopped:
        train("model.architecture=unett")
    assert "unetplusplus" in str(stopped.value.code)


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "focal"])
def test_ignored_pixels_do_not_change_the_loss(train, loss):
    module = load_module(train(f"model.loss=[{loss}]") / "checkpoints/best.ckpt")
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    targets = torch.randint(0, 6, (2, 32, 32))
    targets[:, :8] = 255
    with torch.inference_mode():
        logits = module(images)
        changed = logits.clone()
        changed[:, :, :8] = torch.randn_like(changed[:, :, :8])
        loss = module.losses[0]
        torch.testing.assert_close(loss(logits, targets), loss(changed, targets))
        torch.testing.assert_close(module.loss(logits, targets), loss(logits, targets))
    logits = torch.randn(2, 6, 32, 32, requires_grad=True)
    nothing = module.loss(logits, torch.full_like(targets, 255))
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()


def test_the_cross_entropy_is_the_mean_over_the_annotated_pixels(train):
    module = load_module(train("model.loss=[cross_entropy]") / "checkpoints/best.ckpt")
    logits, targets = torch.randn(2, 6, 8, 8), torch.randint(0, 6, (2, 8, 8))
    targets[:, :3] = 255
    expected = functional.cross_entropy(logits, targets, ignore_index=255)
    torch.testing.assert_close(module.loss(logits, targets), expected)


def test_the_confusion_of_pixels_is_that_of_torchmetrics():
    ours, theirs = (
        kind(4, ignore_index=255, validate_args=False)
        for kind in (PixelConfusion, MulticlassConfusionMatrix)
    )
    for _ in range(2):
        logits, targets = torch.randn(2, 4, 8, 8), torch.randint(0, 4, (2, 8, 8))
        targets[:, :3] = 255
        assert ours(logits, targets).tolist() == theirs(logits, targets).tolist()
    assert ours.compute().tolist() == theirs.compute().tolist()


@pytest.mark.parametrize("backbone", ["swin_s3_tiny_224", "maxvit_pico_rw_256"])
def test_a_backbone_of_a_fixed_size_is_built_for_the_size_of_the_images(backbone):
    words = (f"model.backbone={backbone}", "data.image_size=[96,160]")
    network = Segmenter(check(composed(*words), Settings), 2).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 96, 160, dtype=torch.uint8)).shape == (1, 2, 96, 160)


def test_a_backbone_without_a_pyramid_is_refused():
    settings = check(composed("model.backbone=vit_tiny_patch16_224"), Settings)
    with pytest.raises(UsageError, match=r"model\.backbone=vit_tiny_patch16_224 does not fit"):
        Segmenter(settings, 2)


def test_a_class_named_image_does_not_take_the_column_of_the_path():
    prediction = Prediction(torch.tensor([[0, 1], [1, 1]], dtype=torch.uint8))
    assert describe(prediction, ["image", "sky"]) == {"image (class)": 0.25, "sky": 0.75}
