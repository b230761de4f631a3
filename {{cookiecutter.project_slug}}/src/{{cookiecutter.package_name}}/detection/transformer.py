"""D-FINE, a real-time detection transformer, from the package ``transformers``."""

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn
from torchvision.ops import box_convert

from ..errors import UsageError
from ..settings.schema import Settings
from ..training.backbone import Normalisation, normalisation_of
from ..training.initial_weights import TIMM_WEIGHTS
from .architectures import levels_of
from .boxes import Prediction, Target
from .coco_pretrained import DFINE_BACKBONE, DFINE_CONFIG

STRIDES = [8, 16, 32]
MAX_QUERIES = 300  # upper limit; there are fewer if the feature maps have fewer positions
MAX_BOXES = 100  # COCO's metrics use at most 100 boxes of an image


class TransformerDetector(nn.Module):
    """D-FINE (Peng et al. 2024, https://arxiv.org/abs/2410.13842) on a timm backbone."""

    def __init__(self, settings: Settings, classes: int, *, pretrained: bool) -> None:
        super().__init__()
        try:
            import scipy  # noqa: F401, PLC0415 - the loss needs it
            from transformers import (  # noqa: PLC0415 - it may be missing
                DFineConfig,
                DFineForObjectDetection,
                HGNetV2Config,
                TimmBackboneConfig,
            )
        except ImportError as error:
            raise UsageError(
                "model.architecture=dfine needs the packages transformers and scipy, but "
                f"{error.name} is not installed.\nInstall them: uv sync --extra dfine"
            ) from error
        chosen, channels = settings.model, settings.data.channels
        sides = settings.data.input_size
        positions = [(sides[0] // step) * (sides[1] // step) for step in STRIDES]
        queries = min(MAX_QUERIES, sum(positions))
        if chosen.pretrained == "coco":
            published = DFineConfig(
                num_labels=classes,
                num_queries=queries,
                backbone_config=HGNetV2Config(**DFINE_BACKBONE),
                **DFINE_CONFIG,
            )
            model: Any = DFineForObjectDetection(published)
            self.model = nn.ModuleDict({"model": model})
            self.normalisation = Normalisation([0.0] * 3, [1.0] * 3)
            return
        backbone = timm.create_model(
            chosen.backbone, features_only=True, in_chans=channels, pretrained=pretrained
        )
        levels = levels_of(chosen.backbone, backbone, STRIDES)
        width = chosen.channels
        config = DFineConfig(
            num_labels=classes,
            backbone_config=TimmBackboneConfig(
                backbone=chosen.backbone, num_channels=channels, out_indices=levels
            ),
            # By the setting, not by the argument pretrained: frozen batch norms have other entries
            # in the state dict, so a network that is built for a checkpoint must have them, too.
            freeze_backbone_batch_norms=chosen.pretrained in TIMM_WEIGHTS,
            encoder_in_channels=[backbone.feature_info.channels()[level] for level in levels],
            encoder_hidden_dim=width,
            encoder_ffn_dim=4 * width,
            decoder_in_channels=[width] * len(STRIDES),
            d_model=width,
            decoder_ffn_dim=4 * width,
            decoder_layers=3,
            num_queries=queries,
        )
        model = DFineForObjectDetection(config)
        model.model.backbone.model._backbone.load_state_dict(backbone.state_dict())
        self.model = nn.ModuleDict({"model": model})  # the names of weights begin with model.model
        self.normalisation = normalisation_of(chosen.backbone, channels)

    @property
    def backbone(self) -> nn.Module:
        """The network that computes the feature maps."""
        detector: Any = self.model["model"]
        backbone: nn.Module = detector.model.backbone
        return backbone

    @property
    def body(self) -> nn.Module:
        """The timm model, or the HGNetV2 of the published detector."""
        backbone: Any = self.backbone.model
        body: nn.Module = getattr(backbone, "_backbone", backbone)
        return body

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the loss of uint8 images [B, C, H, W], a scalar tensor by name."""
        labels = [
            {"class_labels": target.labels, "boxes": box_convert(target.boxes, "xyxy", "cxcywh")}
            for target in targets
        ]
        return {"matched": self.model["model"](self.normalisation(images), labels=labels).loss}

    def forward(self, images: Tensor) -> list[Prediction]:
        """Detect objects in uint8 images [B, C, H, W]; requires evaluation mode."""
        outputs = self.model["model"](self.normalisation(images))
        scores = outputs.logits.float().sigmoid()
        boxes = box_convert(outputs.pred_boxes.float(), "cxcywh", "xyxy").clamp(0, 1)
        classes = scores.shape[-1]
        best, indices = scores.flatten(1).topk(min(MAX_BOXES, scores[0].numel()))
        return [
            Prediction(image_boxes[index // classes], score, index % classes)
            for image_boxes, score, index in zip(boxes, best, indices, strict=True)
        ]
