"""Detectors that start from weights for COCO; the tests write weights of the same shapes."""

import json
import logging

import pytest
import torch
from torchvision.models import detection, get_model_builder, get_model_weights, list_models

# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.detection import coco_pretrained
# ~ endif
from {{ cookiecutter.package_name }}.detection.coco_pretrained import (
    PUBLISHED,
    coco_source,
)
from {{ cookiecutter.package_name }}.detection.module import DetectionModule as TaskModule
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings, model_name

from small import SMALL, composed

COCO_LABELS = 91
# ~ if cookiecutter.scope == "complete"
NEW = {  # the layers that depend on the number of classes
    "fcos": ["head.classification_head.cls_logits"],
    "retinanet": ["head.classification_head.cls_logits"],
    "fasterrcnn": ["roi_heads.box_predictor"],
    "ssdlite": [f"head.classification_head.module_list.{level}.1" for level in range(6)],
    "dfine": ["class_embed", "denoising_class_embed", "enc_score_head"],
}
FASTEST = "model.architecture=ssdlite"
MEANS = {"ssdlite": 0.5 * 255, "dfine": 0.0}  # of the red channel; the others have ImageNet's


# ~ else
NEW = {"fcos": ["head.classification_head.cls_logits"]}
FASTEST = "model.freeze=backbone"
MEANS: dict[str, float] = {}  # of the red channel, if it is not ImageNet's


# ~ endif
def write_weights(architecture, folder, monkeypatch):
    """Write weights for COCO's classes where the libraries look for them; return the weights."""
    torch.manual_seed(5)
    # ~ if cookiecutter.scope == "complete"
    if architecture == "dfine":
        from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

        backbone = HGNetV2Config(**coco_pretrained.DFINE_BACKBONE)
        config = DFineConfig(
            num_labels=80, backbone_config=backbone, **coco_pretrained.DFINE_CONFIG
        )
        model = DFineForObjectDetection(config)
        model.save_pretrained(folder / "dfine")
        monkeypatch.setattr(coco_pretrained, "DFINE", str(folder / "dfine"))
        return model.state_dict()
    # ~ endif
    name = PUBLISHED[architecture]
    model = get_model_builder(name)(weights=None, weights_backbone=None, num_classes=COCO_LABELS)
    cache = folder / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(model.state_dict(), cache / get_model_weights(name).DEFAULT.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return model.state_dict()


def test_torchvision_has_the_published_detectors_and_their_weights():
    assert set(PUBLISHED.values()) <= set(list_models(module=detection))
    for name in PUBLISHED.values():
        assert get_model_weights(name).DEFAULT.name == "COCO_V1"
        assert len(get_model_weights(name).DEFAULT.meta["categories"]) == COCO_LABELS


@pytest.mark.parametrize("architecture", NEW)
def test_published_weights_fill_all_but_the_layers_of_the_classes(
    architecture, workplace, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    weights = write_weights(architecture, workplace, monkeypatch)
    # ~ if cookiecutter.scope == "complete"
    words = (f"model.architecture={architecture}", "model.pretrained=coco")
    # ~ else
    words = ("model.pretrained=coco",)
    # ~ endif
    module = TaskModule(check(composed(*SMALL, *words), Settings), ["a", "b"])
    own = module.network.model.model.state_dict()
    assert own.keys() == weights.keys()
    new = [name for name in own if not torch.equal(own[name], weights[name])]
    assert new
    assert all(any(part in name for part in NEW[architecture]) for name in new), new
    (line,) = [text for text in caplog.messages if text.startswith("Weights:")]
    assert f"from COCO for {architecture}; new: " in line
    mean = module.network.normalisation.mean[0, 0].item()
    assert mean == pytest.approx(MEANS.get(architecture, 0.485 * 255))


# ~ if cookiecutter.scope == "complete"
def test_fine_tuning_starts_from_weights_for_coco():
    settings = check(composed("experiment=finetune", "data.root=x"), Settings)
    assert settings.model.pretrained == "coco"


@pytest.mark.parametrize("architecture", NEW)
def test_the_source_of_published_weights_is_the_one_that_is_downloaded(architecture):
    source = coco_source(architecture)
    if architecture == "dfine":
        assert source.startswith("https://huggingface.co/ustc-community/dfine-small-coco, whose")
    else:
        url = get_model_weights(PUBLISHED[architecture]).DEFAULT.url
        assert source.startswith(f"{url}, whose terms are described on https://github.com/pytorch/")


# ~ endif
def test_a_training_from_published_weights_is_evaluated(train, command, workplace, monkeypatch):
    # ~ if cookiecutter.scope == "complete"
    write_weights("ssdlite", workplace, monkeypatch)
    # ~ else
    write_weights("fcos", workplace, monkeypatch)
    # ~ endif
    run = train(FASTEST, "model.pretrained=coco", "data.image_size=64", "trainer.max_epochs=1")
    words = ("trainer=cpu", "tracking=none")
    again = command("evaluate", f"checkpoint={run}/checkpoints/best.ckpt", *words)
    results = [json.loads((folder / "metrics.json").read_text()) for folder in (run, again)]
    assert results[0]["test/mAP"] == pytest.approx(results[1]["test/mAP"])


def test_weights_for_coco_that_cannot_be_used_are_refused(train, workplace, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(workplace))
    for words, message in (
        (("data.channels=1",), "needs images of 3 channels"),
        ((), "the weights of COCO for fcos cannot be downloaded"),
    ):
        monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
        with pytest.raises(SystemExit) as stopped:
            train("model.pretrained=coco", *words)
        assert message in str(stopped.value.code)


@pytest.mark.parametrize(("pretrained", "name"), [("coco", "fcos"), (True, "fcos resnet10t")])
def test_a_backbone_that_is_replaced_is_not_in_the_name_of_the_model(pretrained, name):
    model = {"architecture": "fcos", "backbone": "resnet10t", "pretrained": pretrained}
    assert model_name(model) == name


def no_network(*_, **__):
    raise OSError("no network")
