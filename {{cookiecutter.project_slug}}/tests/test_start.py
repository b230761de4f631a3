"""Weights to start from, frozen parts, and the learning rates of parts."""

import logging
import re

import pytest
import timm
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.module import (
    {{ cookiecutter.task | capitalize }}Module as TaskModule,
)
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings
from {{ cookiecutter.package_name }}.training.parameter_groups import (
    parameter_groups,
    stages_of,
)

from small import OWN, SMALL, composed

CLASSES = ["a", "b", "c"]


def module_of(*words):
    settings = check(composed(*SMALL, *words), Settings)
    return TaskModule(settings, CLASSES)


def end_of(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def test_init_takes_the_averaged_weights_and_renews_the_head_for_other_classes(
    train, own_data, caplog
):
    caplog.set_level(logging.INFO)
    first = train("ema.decay=0.9")
    average = torch.load(first / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    still = ("optimizer.lr=1e-12", "ema.enabled=false", "optimizer.weight_decay=0")
    same = end_of(train(f"init={first.name}", *still))["state_dict"]
    weights = [name for name in same if name.endswith(("weight", "bias"))]
    for name in weights:
        torch.testing.assert_close(same[name], average[name], atol=1e-6, rtol=0)
    source = f"runs/{first.name}/checkpoints/best.ckpt"
    assert f"Weights: 100 % from {source}; new: nothing." in caplog.messages
    other = end_of(train(OWN, f"data.root={own_data}", f"init={first}", *still))["state_dict"]
    renewed = [name for name in weights if other[name].shape != average[name].shape]
    assert renewed
    for name in set(weights) - set(renewed):
        torch.testing.assert_close(other[name], average[name], atol=1e-6, rtol=0)
    line = [text for text in caplog.messages if text.startswith("Weights:")][-1]
    assert all(name.split(".")[-2] in line for name in renewed)


def test_classes_of_other_names_get_a_new_head_although_it_would_fit(train, own_data, caplog):
    caplog.set_level(logging.INFO)
    first = train(OWN, f"data.root={own_data}")
    path = first / "checkpoints/best.ckpt"
    content = torch.load(path, weights_only=True)
    content["classes"] = [f"other {name}" for name in content["classes"]]
    torch.save(content, path)
    train(OWN, f"data.root={own_data}", f"init={path}", "trainer.max_epochs=1")
    (line,) = [text for text in caplog.messages if text.startswith("Weights:")]
    assert not line.endswith("new: nothing.")
    assert "100 %" not in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("init=nothing",), "nothing is neither a checkpoint nor a run"),
        (("init=RUN", "model.backbone=resnet10t"), "Set model.backbone=test_resnet"),
        # ~ if cookiecutter.task == "detection"
        (("init=RUN", "model.channels=96"), "Set model.channels=64"),
        # ~ elif cookiecutter.task == "segmentation"
        (("init=RUN", "model.decoder_channels=256"), "Set model.decoder_channels=128"),
        # ~ endif
        (("init=RUN", "resume=RUN"), "cannot be used together"),
        (("resume=RUN", "model.freeze=1"), "model.freeze=1 cannot be changed"),
    ],
)
def test_an_init_that_cannot_work_is_refused_in_one_line(train, words, message):
    run = train("trainer.max_epochs=1")
    with pytest.raises(SystemExit) as stopped:
        train(*[word.replace("RUN", run.name) for word in words])
    assert message in str(stopped.value.code)
    assert len(str(stopped.value.code).strip().splitlines()) == 1


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_pretrained_weights_of_a_file_fill_the_backbone(workplace, caplog, kind):
    caplog.set_level(logging.INFO)
    torch.manual_seed(3)
    weights = timm.create_model("test_resnet").state_dict()
    folder = workplace / "weights"
    folder.mkdir()
    torch.save(weights, folder / "net.pth")
    path = folder if kind == "folder" else folder / "net.pth"
    module = module_of(f"model.pretrained={path}")
    body = module.network.body.state_dict()
    assert all(torch.equal(body[name], weights[name]) for name in weights if "fc." not in name)
    (line,) = [text for text in caplog.messages if text.startswith("Weights:")]
    assert f"from {path}" in line
    assert not line.endswith("nothing.")


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_of_a_file_are_fitted_to_the_channels_as_timm_does_it(workplace, channels):
    network = timm.create_model("test_resnet")
    torch.save(network.state_dict(), workplace / "net.pth")
    words = (f"data.channels={channels}", f"model.pretrained={workplace / 'net.pth'}")
    name, rgb = next((name, w) for name, w in network.state_dict().items() if w.ndim == 4)
    expected = {1: rgb.sum(1, keepdim=True), 4: rgb[:, [0, 1, 2, 0]] * 3 / 4}[channels]
    torch.testing.assert_close(module_of(*words).network.body.state_dict()[name], expected)


@pytest.mark.parametrize("word", ["true", "imagenet"])
def test_weights_of_timm_fill_the_backbone(workplace, monkeypatch, caplog, word):
    def download(repo_id, filename, **_):
        assert repo_id == timm.get_pretrained_cfg("test_resnet").hf_hub_id
        return str(workplace / "model.safetensors")

    caplog.set_level(logging.INFO)
    torch.manual_seed(3)
    network = timm.create_model("test_resnet")
    timm.models.save_for_hf(network, workplace, safe_serialization=True)
    weights = network.state_dict()
    monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
    body = module_of(f"model.pretrained={word}").network.body.state_dict()
    assert all(torch.equal(body[name], weights[name]) for name in weights if "fc." not in name)
    (line,) = [text for text in caplog.messages if text.startswith("Weights:")]
    assert "from test_resnet of timm; new: " in line
    assert not line.endswith("nothing.")


def test_pretrained_weights_that_are_missing_or_do_not_fit_are_refused(workplace, train):
    torch.save({"x": torch.zeros(1)}, workplace / "other.pth")
    messages = {"other.pth": "weights are those of another network: 0%", "no.pth": "no such file"}
    for name, message in messages.items():
        with pytest.raises(SystemExit) as stopped:
            train(f"model.pretrained={name}")
        assert message in str(stopped.value.code)


@pytest.mark.parametrize(("which", "stages"), [("none", 0), ("2", 2), ("backbone", 5)])
def test_frozen_stages_are_not_trained_and_keep_their_statistics(train, which, stages, caplog):
    caplog.set_level(logging.INFO)
    run = train(f"model.freeze={which}", "ema.enabled=false", "trainer.max_epochs=2")
    assert (f"model.freeze={which} keeps random weights" in caplog.text) == (stages > 0)
    assert bool(re.search(r"parameters, [1-9][\d,]* of them trained", caplog.text)) == (stages > 0)
    trained = end_of(run)["state_dict"]
    module = module_of(f"model.freeze={which}")
    frozen = {id(parameter) for parameter in module.parameters() if not parameter.requires_grad}
    body = dict(module.network.body.named_parameters())
    assert frozen == {
        id(body[name]) for name, stage in stages_of(module.network).items() if stage < stages
    }
    optimised = parameter_groups(module.network, module.settings.optimizer)
    assert not frozen & {id(parameter) for group in optimised for parameter in group["params"]}
    module.train().eval().train()  # as validation does
    norms = [part for part in module.network.body.modules() if isinstance(part, _BatchNorm)]
    in_evaluation = [norm for norm in norms if id(norm.weight) in frozen]
    assert in_evaluation == [norm for norm in norms if not norm.training]
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and id(part.weight) in frozen:
            assert torch.equal(trained[f"{name}.running_mean"], torch.zeros_like(part.running_mean))
            assert trained[f"{name}.num_batches_tracked"] == 0
    assert bool(in_evaluation) == bool(stages)


def rates_of(module):
    groups = parameter_groups(module.network, module.settings.optimizer)
    lr = module.settings.optimizer.lr
    return {id(p): group.get("lr", lr) / lr for group in groups for p in group["params"]}


def test_the_learning_rate_of_the_backbone_is_a_factor(workplace):
    module = module_of("optimizer.backbone_lr=0.1")
    rates = rates_of(module)
    body = dict(module.network.body.named_parameters())
    inside = {id(body[name]) for name in stages_of(module.network)}
    assert inside
    for parameter in module.parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 if id(parameter) in inside else 1)
    groups = parameter_groups(module.network, module.settings.optimizer)
    decays = {group["weight_decay"]: {p.ndim > 1 for p in group["params"]} for group in groups}
    assert decays == {0: {False}, module.settings.optimizer.weight_decay: {True}}


def test_layer_decay_lowers_the_rate_from_stage_to_stage(workplace):
    module = module_of("optimizer.layer_decay=0.5", "optimizer.backbone_lr=0.1")
    rates, body = rates_of(module), dict(module.network.body.named_parameters())
    names = ("conv1.0", "layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1")
    actual = [rates[id(body[f"{name}.weight"])] for name in names]
    assert actual == pytest.approx([0.1 * 0.5**power for power in (5, 4, 3, 2, 1)])
    assert max(rates.values()) == 1  # of the layers after the backbone
