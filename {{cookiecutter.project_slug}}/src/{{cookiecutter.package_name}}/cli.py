"""The commands: compose the settings with Hydra, check them, hand over to the module that works.

Nothing heavy is imported at the top, so that ``--help``, ``--cfg job`` and a wrong override answer
at once. PyTorch comes in when the settings are known to be right.
"""

import errno
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from .errors import UsageError
from .processes import is_first

if TYPE_CHECKING:
    from .run import Run
    from .settings import Settings

SettingsT = TypeVar("SettingsT", bound="Settings")

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).parent / "configs"
RUN_ID = "TRAIN_RUN_ID"
RUN_SETTINGS = "TRAIN_RUN_SETTINGS"
PATHS = {"source", "checkpoint", "output", "data.root"}


def train() -> None:
    """Train, test the best weights, and say where the pictures are."""
    if RUN_SETTINGS in os.environ:  # started by Lightning as a further process of a running job
        return _train_rank(Path(os.environ[RUN_SETTINGS]))
    return launch("train", _train)


def evaluate() -> None:
    """Measure a checkpoint on one split of a data set."""
    launch("evaluate", _evaluate)


def predict() -> None:
    """Run a checkpoint on images."""
    launch("predict", _predict)


def export() -> None:
    """Export a checkpoint to one file for other runtimes."""
    launch("export", _export)


def tune() -> None:
    """Search the settings for the best score."""
    launch("tune", _tune)


def launch(command: str, work: Callable[[DictConfig], None]) -> None:
    """Let Hydra compose the settings of a command, and hand them to ``work``."""
    from .processes import agreed_run_id
    from .run import new_run_id

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of each font cache
    if RUN_ID not in os.environ:
        os.environ[RUN_ID] = agreed_run_id(new_run_id())
    if "hydra/launcher=slurm" in sys.argv and not find_spec("submitit"):
        sys.exit("\nhydra/launcher=slurm needs a package more: uv sync --extra slurm\n")
    multirun = {"-m", "--multirun"}
    words = sorted(sys.argv[1:], key=lambda word: word not in multirun)  # anywhere else fails
    sys.argv[1:] = [_forgiving(word, multirun=words[0] in multirun) for word in words]
    hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=command)(work)()


def _forgiving(word: str, *, multirun: bool) -> str:
    """Let an override through to our own check, which reports all mistakes together.

    Hydra stops at the first unknown key; ``++key=value`` makes it accept the key, and the check in
    ``validation.py`` then names it with the nearest known one. Config groups (``data=...``) and
    Hydra's own settings stay as they are. A path is quoted, so that ``source=photo (1).jpg`` works.
    """
    match = re.fullmatch(r"([A-Za-z_][\w.]*)=(.*)", word, flags=re.DOTALL)
    if not match:
        return word
    key, value = match.groups()
    if key.startswith("hydra.") or (CONFIGS / key).is_dir():
        return word
    if key in PATHS and value and value[0] not in "'\"" and not multirun:
        value = "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"
    return f"++{key}={value}"


def guarded(work: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Print a user's mistake without a traceback, and give each job of a multirun its own id.

    A job of a multirun that fails leaves the reason in its folder, and the next one starts.
    """

    def task(config: DictConfig) -> None:
        from .run import Run

        shared_id = os.environ[RUN_ID]
        job = HydraConfig.get()
        multirun = job.mode == RunMode.MULTIRUN
        if multirun:
            os.environ[RUN_ID] = f"{shared_id}-{job.job.num}"  # one run folder for each job
        try:
            work(config)
        except Exception as error:
            known = _known(error)
            run = Run(Path(str(config.runs)) / os.environ[RUN_ID])
            if multirun or run.folder.is_dir():
                with suppress(OSError):  # the disk may be full
                    run.fail(known or f"{type(error).__name__}: {error}")
            if multirun:  # the other jobs go on
                log.error("\n%s failed: %s\n", run.id, known or error, exc_info=known is None)
            elif known:
                sys.exit(f"\n{known}\n")
            else:
                raise
        finally:
            os.environ[RUN_ID] = shared_id

    return task


def _known(error: Exception) -> str | None:
    """What to tell of a user's mistake or a full disk; nothing of a mistake in the code."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "There is no space left on the disk. Make room, then go on: resume=auto"
    return str(error) if isinstance(error, UsageError) else None


class Multirun(Callback):
    """Hydra calls it (see ``configs/train.yaml``) when the last job of a multirun has ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell the results of the jobs; one that failed makes the command fail."""
        from .run import Run

        runs, shared = Path(config.runs), f"{os.environ[RUN_ID]}-"
        ends = [folder.name.removeprefix(shared) for folder in runs.glob(f"{shared}*")]
        numbers = sorted(filter(str.isdigit, ends), key=int)
        jobs = [Run(runs / f"{shared}{number}") for number in numbers]
        if config.hydra.job.config_name == "train":
            from .compare import compare

            compare(jobs, Path(config.hydra.sweep.dir))
        if any(job.failure.is_file() for job in jobs):
            sys.exit(1)


@guarded
def _train(config: DictConfig) -> None:
    from .run import Run, find_run
    from .settings import Settings
    from .validation import check, continued

    resume = config.get("resume")
    if resume:
        run = find_run(Path(str(config.runs)), str(resume))
        settings = check(continued(run.settings, config, _overrides()), Settings)
        os.environ[RUN_ID] = run.id
        if is_first():
            run.results.unlink(missing_ok=True)  # no longer finished
    else:
        settings = check(config, Settings)
        run = Run(settings.runs / os.environ[RUN_ID])
    if is_first():
        run.create(settings)
    # Lightning starts further processes by this command line; they take the settings from the run
    # and need no Hydra.
    os.environ[RUN_SETTINGS] = str(run.settings_file)
    HydraConfig.instance().cfg = None
    try:
        from .train import run_training

        run_training(settings, run)
    finally:
        del os.environ[RUN_SETTINGS]


def _overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)


def _train_rank(settings_file: Path) -> None:
    from .run import Run
    from .settings import Settings
    from .train import run_training
    from .validation import check

    run = Run(settings_file.parent)
    run_training(check(run.settings, Settings), run)


@guarded
def _evaluate(config: DictConfig) -> None:
    from .settings import EvaluateSettings

    settings, run = _prepared(config, EvaluateSettings)
    from .evaluate import run_evaluation

    run_evaluation(settings, run)


@guarded
def _predict(config: DictConfig) -> None:
    from .settings import PredictSettings

    settings, run = _prepared(config, PredictSettings)
    from .predict import run_prediction

    run_prediction(settings, run)


@guarded
def _export(config: DictConfig) -> None:
    from .settings import ExportSettings

    settings, run = _prepared(config, ExportSettings)
    from .export import run_export

    run_export(settings, run)


@guarded
def _tune(config: DictConfig) -> None:
    from .space import check_search

    settings = check_search(config, _overrides())
    if find_spec("optuna") is None:
        raise UsageError(
            "tune needs the package optuna, which is not installed.\n"
            "Install it: uv sync --extra tune"
        )
    from .tune import run_search

    run_search(settings, _overrides())


def _prepared(config: DictConfig, model: type[SettingsT]) -> tuple[SettingsT, "Run"]:
    """Take data and model from the checkpoint, all else from the command line, which also wins."""
    from .run import Run
    from .validation import check, continued

    names = ("data.", "model.")  # what they may be depends on the checkpoint
    if config.checkpoint is None or not any(
        key.lstrip("+").startswith(names) for key in _overrides()
    ):
        check(config, model)  # a mistake is told before PyTorch is imported
    # ~ if cookiecutter.use_wandb
    if str(config.checkpoint).startswith("wandb:"):
        from .tracking.artifacts import fetch_checkpoint

        config.checkpoint = str(fetch_checkpoint(config.checkpoint, config.tracking))
    # ~ endif
    from .checkpoint import read_checkpoint

    stored = read_checkpoint(Path(config.checkpoint))["settings"]
    kept = {"data": stored["data"], "model": stored["model"]}
    settings = check(continued(kept, config, _overrides()), model)
    run = Run(settings.runs / os.environ[RUN_ID])
    if is_first():
        run.create(settings)
    return settings, run
