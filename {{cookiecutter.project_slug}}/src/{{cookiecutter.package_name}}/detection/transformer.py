"""D-FINE, a real-time detection transformer, from the package ``transformers``."""

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn
from torchvision.ops import box_convert

from ..errors import UsageError
from ..settings.detection import ModelSettings
from ..training.initial_weights import TIMM_WEIGHTS
from .boxes import Prediction, Target
from .coco_pretrained import DFINE_BACKBONE, DFINE_CONFIG
from .feature_maps import levels_of

STRIDES = [8, 16, 32]
MAX_QUERIES = 300  # upper limit; there are fewer if the feature maps have fewer positions
MAX_BOXES = 100  # COCO's metrics use at most 100 boxes of an image


class TransformerDetector(nn.Module):
    """D-FINE (Peng et al. 2024, https://arxiv.org/abs/2410.13842) on a timm backbone."""

    def __init__(
        self,
        settings: ModelSettings,
        classes: int,
        image_size: tuple[int, int],
        channels: int,
        *,
        pretrained: bool,
    ) -> None:
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
        positions = [(image_size[0] // step) * (image_size[1] // step) for step in STRIDES]
        queries = min(MAX_QUERIES, sum(positions))
        # Mean and standard deviation of the images on which the published detector was trained.
        self.statistics: tuple[Sequence[float], Sequence[float]] = ([0.0] * 3, [1.0] * 3)
        if settings.pretrained == "coco":
            backbone_config = HGNetV2Config(**DFINE_BACKBONE)
            published = DFineConfig(
                num_labels=classes,
                num_queries=queries,
                backbone_config=backbone_config,
                **DFINE_CONFIG,
            )
            self.model: Any = DFineForObjectDetection(published)
            return
        backbone = timm.create_model(
            settings.backbone, features_only=True, in_chans=channels, pretrained=pretrained
        )
        levels = levels_of(settings.backbone, backbone, STRIDES)
        width = settings.channels
        config = DFineConfig(
            num_labels=classes,
            backbone_config=TimmBackboneConfig(
                backbone=settings.backbone, num_channels=channels, out_indices=levels
            ),
            # By the setting, not by the argument pretrained: frozen batch norms have other entries
            # in the state dict, so a network that is built for a checkpoint must have them, too.
            freeze_backbone_batch_norms=settings.pretrained in TIMM_WEIGHTS,
            encoder_in_channels=[backbone.feature_info.channels()[level] for level in levels],
            encoder_hidden_dim=width,
            encoder_ffn_dim=4 * width,
            decoder_in_channels=[width] * len(STRIDES),
            d_model=width,
            decoder_ffn_dim=4 * width,
            decoder_layers=3,
            num_queries=queries,
        )
        self.model = DFineForObjectDetection(config)
        self.model.model.backbone.model._backbone.load_state_dict(backbone.state_dict())

    @property
    def backbone(self) -> nn.Module:
        """The network that computes the feature maps."""
        backbone: nn.Module = self.model.model.backbone
        return backbone

    @property
    def body(self) -> nn.Module:
        """The timm model, or the HGNetV2 of the published detector."""
        backbone = self.model.model.backbone.model
        body: nn.Module = getattr(backbone, "_backbone", backbone)
        return body

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the loss, a scalar tensor by name, for normalised images [B, C, H, W]."""
        labels = [
            {"class_labels": target.labels, "boxes": box_convert(target.boxes, "xyxy", "cxcywh")}
            for target in targets
        ]
        return {"matched": self.model(images, labels=labels).loss}

    def detect(self, images: Tensor) -> list[Prediction]:
        """Detect objects in normalised images [B, C, H, W]."""
        outputs = self.model(images)
        scores = outputs.logits.float().sigmoid()
        boxes = box_convert(outputs.pred_boxes.float(), "cxcywh", "xyxy").clamp(0, 1)
        classes = scores.shape[-1]
        best, indices = scores.flatten(1).topk(min(MAX_BOXES, scores[0].numel()))
        return [
            Prediction(image_boxes[index // classes], score, index % classes)
            for image_boxes, score, index in zip(boxes, best, indices, strict=True)
        ]
