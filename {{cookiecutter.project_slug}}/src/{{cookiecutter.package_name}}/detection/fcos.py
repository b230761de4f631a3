"""FCOS of torchvision with a timm backbone."""

from typing import Any

from torchvision.models.detection import FCOS
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from ..settings.detection import ModelSettings
from .feature_maps import FeaturePyramid, FeaturesAt

MIN_SCORE = 0.01  # boxes with lower scores hardly change mAP, but take time


def fcos(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    """Build FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355) on a feature pyramid."""
    top = LastLevelP6P7(settings.channels, settings.channels)
    pyramid = FeaturePyramid(settings, 8, top, features)
    return FCOS(pyramid, classes, score_thresh=MIN_SCORE)
