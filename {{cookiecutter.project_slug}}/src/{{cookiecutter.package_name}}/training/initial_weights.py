"""Load the initial weights of a network: those of timm, or those of a file."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from timm.models import adapt_input_conv, load_state_dict
from torch import Tensor, nn

from ..errors import UsageError
from ..run.processes import is_first
from .parameter_groups import stages_of

log = logging.getLogger(__name__)

TIMM_WEIGHTS = (True, "imagenet")  # the values of model.pretrained that stand for timm's weights
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar")
MIN_SHARE = 0.05  # of the parameters; weights of another network may fit in a few places
MAX_PARTS = 5  # how many parts with new weights the log names


def load_pretrained(network: nn.Module, *, pretrained: bool | str, backbone: str) -> None:
    """Load the file that ``model.pretrained`` names, and report which parts are loaded.

    The names in the file may be those of the network or of a part of it, such as the backbone.
    Weights of timm are in the network already.
    """
    if pretrained in TIMM_WEIGHTS:
        body = next(name for name, module in network.named_modules() if module is network.body)
        loaded = [f"{body}.{name}" for name in stages_of(network)]
        _log_loaded_parts(network, loaded, f"{backbone} of timm")
    elif isinstance(pretrained, str):
        weights = _read(Path(pretrained))
        prefix = max(
            (f"{name}." if name else "" for name, _ in network.named_modules()),
            key=lambda prefix: len(_fitting(network, weights, prefix)),
        )
        load_fitting(
            network, {f"{prefix}{name}": value for name, value in weights.items()}, pretrained
        )


def load_fitting(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load the weights whose names and shapes fit, and report the rest.

    Raises:
        UsageError: if hardly any weight fits.
    """
    fitting = _fitting(network, weights)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    share = sum(sizes.get(name, 0) for name in fitting) / sum(sizes.values())
    if share < MIN_SHARE:
        raise UsageError(
            f"{source}: its weights are those of another network: {share:.0%} of this network's "
            "parameters have their names and shapes.\n"
            # ~ if cookiecutter.task == "classification"
            "Set model.backbone to that of these weights, or start without them."
            # ~ elif cookiecutter.task == "detection" and cookiecutter.scope == "complete"
            "Set model.architecture and model.backbone to those of these weights, or start without "
            "them. Published detectors are loaded by model.pretrained=coco, also without a network "
            "if TORCH_HOME or HF_HOME is a folder with their files."
            # ~ else
            "Set model.architecture and model.backbone to those of these weights, or start without "
            "them."
            # ~ endif
        )
    network.load_state_dict(fitting, strict=False)
    _log_loaded_parts(network, fitting, source)


def _log_loaded_parts(network: nn.Module, loaded: Collection[str], source: str) -> None:
    """Log the source of the weights, the percentage of loaded parameters, and the new parts."""
    if not is_first():
        return
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    new = [name for name in sizes if name not in loaded]
    parts: list[str] = []
    for name, _ in network.named_modules():
        inside = [key for key in sizes if not name or key.startswith(f"{name}.")]
        known = any(not part or name.startswith(f"{part}.") for part in parts)
        if inside and not known and all(key in new for key in inside):
            parts.append(name)
    parts += [key for key in new if not any(key.startswith(f"{part}.") for part in parts)]
    named = ", ".join(parts[:MAX_PARTS]) + (" ..." if len(parts) > MAX_PARTS else "")
    share = 1 - sum(sizes[name] for name in new) / sum(sizes.values())
    log.info("Weights: %d %% from %s; new: %s.", 100 * share, source, named or "nothing")


def _fitting(
    network: nn.Module, weights: Mapping[str, Tensor], prefix: str = ""
) -> dict[str, Tensor]:
    own = network.state_dict()
    fitting = {}
    for name, value in weights.items():
        key = f"{prefix}{name}"
        if key in own:
            weight = _with_channels(value, own[key])
            if weight.shape == own[key].shape:
                fitting[key] = weight
    return fitting


def _with_channels(weight: Tensor, own: Tensor) -> Tensor:
    """Repeat or sum the weights of RGB for a first convolution of other channels, as timm does."""
    first = weight.ndim == 4 and weight.shape[1] == 3  # [channels, 3, height, width]
    return adapt_input_conv(own.shape[1], weight) if first and own.ndim == 4 else weight


def _read(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file, or of the only file with weights in a folder."""
    files = sorted(file for file in path.glob("*") if file.suffix in SUFFIXES)
    if path.is_dir() and len(files) != 1:
        raise UsageError(
            f"model.pretrained={path}: the folder has {len(files)} weight files. Name one file."
        )
    file = files[0] if files else path
    if not file.is_file():
        raise UsageError(f"model.pretrained={path}: there is no such file or folder.")
    try:
        weights: dict[str, Tensor] = load_state_dict(str(file), weights_only=True)
        return {name.removeprefix("network."): value for name, value in weights.items()}
    except Exception as error:  # torch raises many types of errors for other files
        reason = type(error).__name__
        raise UsageError(f"model.pretrained={path}: {file} cannot be read: {reason}.") from error
