"""Detectors as torchvision and transformers publish them, and their weights for COCO."""

from typing import Any

from torch import nn
from torchvision.models import get_model_builder, get_model_weights

from ..training.backbone import explain_failed_download
from ..training.initial_weights import load_fitting
from .architectures import MIN_SCORE

# The builder of torchvision for each architecture.
PUBLISHED = {
    "fcos": "fcos_resnet50_fpn",
    "retinanet": "retinanet_resnet50_fpn_v2",
    "fasterrcnn": "fasterrcnn_resnet50_fpn_v2",
    "ssdlite": "ssdlite320_mobilenet_v3_large",
}
DFINE = "ustc-community/dfine-small-coco"  # the id of the model on https://huggingface.co

TERMS = "https://github.com/pytorch/vision"  # of torchvision's weights

# The arguments of transformers' DFineConfig and HGNetV2Config for this model.
DFINE_CONFIG = {
    "decoder_layers": 3,
    "hidden_expansion": 0.5,
    "depth_mult": 0.34,
    "decoder_n_points": [3, 6, 3],
    "encoder_in_channels": [256, 512, 1024],
}
DFINE_BACKBONE = {
    "hidden_sizes": [128, 256, 512, 1024],
    "stem_channels": [3, 16, 16],
    "stage_in_channels": [16, 64, 256, 512],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_out_channels": [64, 256, 512, 1024],
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "use_learnable_affine_block": True,
    "out_indices": [2, 3, 4],
}


def published_detector(architecture: str, classes: int) -> Any:
    """Build a detector of torchvision with random weights and its own backbone."""
    threshold = "box_score_thresh" if architecture == "fasterrcnn" else "score_thresh"
    build = get_model_builder(PUBLISHED[architecture])
    options: dict[str, Any] = {threshold: MIN_SCORE, "num_classes": classes}
    return build(weights=None, weights_backbone=None, **options)


def coco_source(architecture: str) -> str:
    """Return the addresses of a detector's published weights and of their terms, as a clause."""
    if architecture == "dfine":
        page = f"https://huggingface.co/{DFINE}"
        return f"{page}, whose terms are on that page"
    weights = get_model_weights(PUBLISHED[architecture]).DEFAULT
    return f"{weights.url}, whose terms are described on {TERMS}"


def load_coco(network: nn.Module, architecture: str) -> None:
    """Load the published weights that fit into a network; downloads them once."""
    source = f"COCO for {architecture}"
    with explain_failed_download(source, pretrained=True):
        if architecture == "dfine":
            from transformers import DFineForObjectDetection  # noqa: PLC0415 - it may be missing

            published: Any = DFineForObjectDetection.from_pretrained(DFINE)
        else:
            name = PUBLISHED[architecture]
            published = get_model_builder(name)(weights=get_model_weights(name).DEFAULT)
    weights = {f"model.model.{name}": value for name, value in published.state_dict().items()}
    load_fitting(network, weights, source)
