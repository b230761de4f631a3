"""Send the fixed validation images along with a training, and what predict has drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from ..run.folder import Run
from ..training.callbacks.pictures import PredictionPictures, Shown
from .client import Tracked
from .media import film, picture

KEY = "val/predictions"
CLIPS = {".mp4", ".gif", ".webm"}


class TrackedPictures(Callback):
    """Joins the sinks of ``PredictionPictures``: same samples, one image each, with a caption."""

    def __init__(self, tracked: Tracked) -> None:
        self.tracked = tracked
        self.validations = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask to be handed the samples."""
        if stage != "fit":
            return
        self.classes: list[str] = cast("Any", pl_module).classes
        for callback in cast("Any", trainer).callbacks:
            if isinstance(callback, PredictionPictures):
                callback.sinks.append(self.send)

    def send(self, trainer: Trainer, shown: Sequence[Shown]) -> None:
        """Log the samples of this validation."""
        media = self.tracked.tracking.media
        self.validations += 1
        if self.validations % media.every_n_validations or not media.images:
            return
        with self.tracked.guarded("sending images"):
            images = [
                picture(
                    self.tracked,
                    one.image,
                    self.classes,
                    target=one.target,
                    prediction=one.prediction,
                )
                for one in shown[: media.images]
            ]
            self.tracked.send({KEY: images}, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same samples through the epochs, as a film."""
        if not self.tracked.tracking.media.video:
            return
        with self.tracked.guarded("sending the film"):
            folder = self.tracked.folder.folder / "predictions"
            path = film(
                sorted(folder.glob("epoch_*.png")),
                folder / "epochs.gif",
                2 * self.tracked.tracking.media.pixels,
            )
            if path is not None:
                video = self.tracked.wandb.Video(str(path), format="gif")
                self.tracked.send({"val/epochs": video}, trainer.global_step)


def send_predictions(tracked: Tracked, run: Run) -> None:
    """Log what predict has drawn: pictures, clips and the table as an artifact."""
    most = tracked.tracking.media.clips
    drawn = sorted((run.folder / "predictions").iterdir())
    with tracked.guarded("sending predictions"):
        values: dict[str, Any] = {}
        images = [path for path in drawn if path.suffix == ".jpg"][:most]
        clips = [path for path in drawn if path.suffix in CLIPS][:most]
        if images:
            values["predict/images"] = [_drawn(tracked, path) for path in images]
        if clips:
            values["predict/clips"] = [
                tracked.wandb.Video(str(path), caption=path.stem, format=path.suffix[1:])
                for path in clips
            ]
        if values:
            tracked.send(values, 0)


def _drawn(tracked: Tracked, path: Path) -> Any:
    with Image.open(path) as file:
        shown = file.convert("RGB")
    shown.thumbnail((tracked.tracking.media.pixels, tracked.tracking.media.pixels))
    return tracked.wandb.Image(shown, caption=path.stem, file_type="jpg")
