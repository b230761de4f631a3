"""Start a command: Hydra composes its settings, and what goes wrong is told in plain words."""

import errno
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ..errors import UsageError
from ..run.folder import Run
from ..run.identity import agreed_run_id, new_run_id
from .help import tell_usage

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).parents[1] / "configs"
RUN_ID = "TRAIN_RUN_ID"
PATHS = {"source", "checkpoint", "output", "data.root"}


def launch(command: str, work: Callable[[DictConfig], None]) -> None:
    """Let Hydra compose the settings of a command, and hand them to ``work``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of each font cache
    if RUN_ID not in os.environ:
        os.environ[RUN_ID] = agreed_run_id(new_run_id())
    if "hydra/launcher=slurm" in sys.argv and not find_spec("submitit"):
        sys.exit("\nhydra/launcher=slurm needs a package more: uv sync --extra slurm\n")
    multirun = {"-m", "--multirun"}
    words = sorted(sys.argv[1:], key=lambda word: word not in multirun)  # anywhere else fails
    words = [_forgiving(word, multirun=words[0] in multirun) for word in words]
    if {"-h", "--help"} & {*words}:
        tell_usage(command, CONFIGS, [word for word in words if not word.startswith("-")])
        return
    sys.argv[1:] = words
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
        return "There is no space left on the disk. Make room; a training goes on by resume=auto"
    return str(error) if isinstance(error, UsageError) else None
