"""Check the further arguments of Lightning's trainer, ``trainer.extra``."""

import difflib
import inspect

from lightning.pytorch import Trainer

from ..errors import UsageError
from ..settings.trainer import TrainerSettings

# What sets an argument in place of ``trainer.extra``: another setting, or a module.
OTHER_SETTINGS = {
    "benchmark": "trainer.deterministic",
    "callbacks": "train.py",
    "default_root_dir": "runs",
    "enable_checkpointing": "training/trainer.py",
    "enable_model_summary": "training/trainer.py",
    "enable_progress_bar": "trainer.progress",
    "gradient_clip_algorithm": "optimizer.clip_norm",
    "gradient_clip_val": "optimizer.clip_norm",
    "logger": "tracking",
    "num_sanity_val_steps": "training/trainer.py",
    "plugins": "training/trainer.py",
}


def check_extra(settings: TrainerSettings) -> None:
    """Check the names in ``trainer.extra``.

    Raises:
        UsageError: if the trainer has no such argument, or if it cannot be set here.
    """
    known = list(inspect.signature(Trainer).parameters)
    for name in settings.extra or {}:
        if name in OTHER_SETTINGS or name in TrainerSettings.model_fields:
            setting = OTHER_SETTINGS.get(name, f"trainer.{name}")
            raise UsageError(f"trainer.extra.{name}: {setting} sets this argument.")
        if name == "fast_dev_run":  # it would leave out the checkpoint, which is tested at the end
            raise UsageError("trainer.extra.fast_dev_run is not supported: use debug=fast.")
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {similar[0]}?" if similar else ""
            raise UsageError(
                f"trainer.extra.{name} is not an argument of Lightning's Trainer.{hint}"
            )
