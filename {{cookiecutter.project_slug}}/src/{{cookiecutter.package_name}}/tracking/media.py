"""Send the fixed validation samples along with the run."""

from collections.abc import Sequence
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torchvision.transforms.functional import to_pil_image

from ..callbacks.pictures import PredictionPictures, Shown
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.masks import fitted
# ~ elif cookiecutter.task == "detection"
from ..detection.boxes import Prediction, Target
# ~ endif
from ..task import caption

KEY = "val/predictions"
MOST_PIXELS = 512  # of the longer side: a picture to judge by, not an archive


# ~ if cookiecutter.task == "detection"
def _boxes(found: Prediction | Target, classes: Sequence[str]) -> dict[str, Any]:
    """Boxes as W&B lays them over an image; what is predicted brings its score."""
    scores = found.scores.tolist() if isinstance(found, Prediction) else None
    data = []
    for index, (box, label) in enumerate(
        zip(found.boxes.tolist(), found.labels.tolist(), strict=True)
    ):
        name = classes[label]
        entry = {
            "position": dict(zip(("minX", "minY", "maxX", "maxY"), box, strict=True)),
            "class_id": label,
            "box_caption": f"{name} {scores[index]:.0%}" if scores else name,
        }
        data.append(entry | ({"scores": {"score": scores[index]}} if scores else {}))
    return {"box_data": data, "class_labels": dict(enumerate(classes))}


# ~ endif
class TrackedPictures(Callback):
    """Joins the sinks of ``PredictionPictures``: same samples, one image each, with a caption."""

    def __init__(self, most_images: int, every_n_epochs: int) -> None:
        self.most_images = most_images
        self.every_n_epochs = every_n_epochs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask to be handed the samples."""
        if stage != "fit":
            return
        self.classes: list[str] = cast("Any", pl_module).classes
        for callback in cast("Any", trainer).callbacks:
            if isinstance(callback, PredictionPictures):
                callback.sinks.append(self.send)

    def send(self, trainer: Trainer, shown: Sequence[Shown]) -> None:
        """Log the samples of this epoch."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if (trainer.current_epoch + 1) % self.every_n_epochs or not self.most_images:
            return
        chosen = shown[: self.most_images]
        images = [to_pil_image(one.image) for one in chosen]
        for image in images:
            image.thumbnail((MOST_PIXELS, MOST_PIXELS))
        captions = [caption(one.target, one.prediction, self.classes) for one in chosen]
        options: dict[str, Any] = {"caption": captions, "file_type": ["jpg"] * len(images)}
        # ~ if cookiecutter.task == "detection"
        options["boxes"] = [
            {
                "prediction": _boxes(one.prediction, self.classes),
                "target": _boxes(one.target, self.classes),
            }
            for one in chosen
        ]
        # ~ elif cookiecutter.task == "segmentation"
        names = dict(enumerate(self.classes))
        options["masks"] = [
            {
                key: {"mask_data": fitted(mask, image.size), "class_labels": names}
                for key, mask in (("prediction", one.prediction.mask), ("target", one.target))
            }
            for one, image in zip(chosen, images, strict=True)
        ]
        # ~ endif
        for logger in loggers:
            logger.log_image(KEY, images, **options)
