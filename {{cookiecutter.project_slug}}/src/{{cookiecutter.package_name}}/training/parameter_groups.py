"""Divide the parameters into groups with learning rates by stage, and freeze the first stages."""

import re
from collections import defaultdict
from typing import Any, Literal

from timm.optim import param_groups_weight_decay
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.reading_summary import number_of
from ..errors import UsageError
from ..settings.schema import OptimizerSettings


def freeze(network: nn.Module, which: Literal["none", "backbone"] | int) -> None:
    # ~ if cookiecutter.task == "classification"
    """Freeze so many stages of ``network.body``, or all; its classifier is always trained."""
    # ~ else
    """Freeze the first ``which`` stages of the backbone, ``network.body``, or all of them."""
    # ~ endif
    if which == "none":
        return
    stages = stages_of(network)
    count = 1 + max(stages.values())
    if which != "backbone" and which > count:
        has = number_of(count, "stages")
        raise UsageError(f"model.freeze={which}: the backbone has {has}.")
    body: Any = network.body
    for name, parameter in body.named_parameters():
        if name in stages and (which == "backbone" or stages[name] < which):
            parameter.requires_grad = False
    keep_frozen_norms(network)


def keep_frozen_norms(network: nn.Module) -> None:
    """Switch frozen batch norms to evaluation mode, since their statistics must not change."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.affine and not module.weight.requires_grad:
            module.eval()


def parameter_groups(network: nn.Module, chosen: OptimizerSettings) -> list[dict[str, Any]]:
    """Return the trained parameters in groups; biases and normalisation get no weight decay.

    The learning rate of ``network.body``, the backbone, is multiplied by ``backbone_lr``. With
    ``layer_decay``, that of each stage, counted from 0, is also multiplied by
    ``layer_decay ** (stages - stage)``, as in BEiT (Bao et al. 2021,
    https://arxiv.org/abs/2106.08254); the last stage gets the factor once.
    """
    body: Any = network.body
    stages, decay = stages_of(network), chosen.layer_decay or 1.0
    count = 1 + max(stages.values())
    factors = {
        id(parameter): chosen.backbone_lr * decay ** (count - stages[name])
        for name, parameter in body.named_parameters()
        if name in stages
    }
    groups = []
    for group in param_groups_weight_decay(network, chosen.weight_decay):
        parameters = defaultdict(list)
        for parameter in group["params"]:
            parameters[factors.get(id(parameter), 1.0)].append(parameter)
        groups += [
            group | {"params": members, "lr": chosen.lr * factor}
            for factor, members in parameters.items()
        ]
    return groups


def stages_of(network: nn.Module) -> dict[str, int]:
    # ~ if cookiecutter.task == "classification"
    """Return the stage, from 0, of each parameter of ``network.body`` except its classifier.

    # ~ else
    """Return the stage, from 0, of each parameter of ``network.body``.

    # ~ endif

    A stage ends at a feature map of timm, usually before the resolution is halved again. In
    networks of other libraries, it ends with a module ``layer<number>`` or ``stages.<number>``.
    """
    body: Any = network.body
    modules = dict(body.named_modules())
    info = getattr(body, "feature_info", None)
    if info is None:
        ends = [name for name in modules if re.search(r"(^|\.)(layer|stages\.)\d+$", name)]
    else:
        ends = [entry["module"] for entry in (info if isinstance(info, list) else info.get_dicts())]
    # timm may flatten names: stages.0 becomes stages_0.
    flat = [f"{name.removeprefix('model.').replace('.', '_')}_" for name in modules]
    last = []  # the place of the last module of each stage
    for end in ends:
        start = f"{end.replace('.', '_')}_"
        last += [place for place, name in enumerate(flat) if name.startswith(start)][-1:]
    # ~ if cookiecutter.task == "classification"
    heads = getattr(body, "pretrained_cfg", {}).get("classifier") or ()
    head_names = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    # ~ endif
    return {
        key: min(sum(place > end for end in last), max(0, len(last) - 1))
        for place, (name, module) in enumerate(modules.items())
        for key, _ in module.named_parameters(name, recurse=False)
        # ~ if cookiecutter.task == "classification"
        if not key.startswith(head_names)
        # ~ endif
    }
