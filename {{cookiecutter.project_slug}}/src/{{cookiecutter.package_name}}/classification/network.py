"""The network: a timm classifier that takes uint8 images."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..settings.schema import Settings
# ~ if cookiecutter.scope == "complete"
from ..training.backbone import check_name, explain_failed_download, normalisation_for
from ..training.initial_weights import TIMM_WEIGHTS, load_pretrained


# ~ else
from ..training.backbone import check_name, explain_failed_download, normalisation_for


# ~ endif
class Classifier(nn.Module):
    """A timm model, preceded by the image normalisation of its pretraining.

    A backbone whose input has a fixed size is built for the size of the images.
    """

    def __init__(self, settings: Settings, classes: int, *, download: bool = True) -> None:
        super().__init__()
        chosen, name = settings.model, settings.model.backbone
        channels, (height, width) = settings.data.channels, settings.data.input_size
        if not name.startswith("hf-hub:"):
            check_name(name)
        options: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
        config = timm.get_pretrained_cfg(name)
        fixed = config is not None and config.fixed_input_size  # such as most vision transformers
        if fixed:
            options["img_size"] = (height, width)
        # ~ if cookiecutter.scope == "complete"
        pretrained = chosen.pretrained in TIMM_WEIGHTS and download
        # ~ else
        pretrained = bool(chosen.pretrained) and download
        # ~ endif
        with explain_failed_download(name, pretrained=pretrained):
            try:
                self.backbone: nn.Module = timm.create_model(
                    name, pretrained=pretrained, drop_rate=chosen.drop_rate, **options
                )
                if fixed:
                    with torch.no_grad():
                        self.backbone.eval()(torch.zeros(1, channels, height, width))
                    self.backbone.train()
            except (AssertionError, RuntimeError) as error:
                if config is None or not fixed or (pretrained and isinstance(error, RuntimeError)):
                    raise
                raise UsageError(
                    f"model.backbone={name} does not take images of {height} x {width} pixels: "
                    f"{str(error).partition(chr(10))[0]}\n"
                    f"It was made for data.image_size={config.input_size[1]}."
                ) from error
        # ~ if cookiecutter.scope == "complete"
        if download:
            load_pretrained(self, pretrained=chosen.pretrained, backbone=name)
        # ~ endif
        trained: Any = self.backbone.pretrained_cfg
        self.normalisation = normalisation_for(trained["mean"], trained["std"], channels)

    # ~ if cookiecutter.scope == "complete"
    @property
    def body(self) -> nn.Module:
        """The timm model, whose last layer is the classifier."""
        return self.backbone

    # ~ endif
    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of images [B, C, H, W], uint8 or float from 0 to 255."""
        logits: Tensor = self.backbone(self.normalisation(images))
        return logits
