"""Start a command: Hydra composes its settings; a mistake of the user causes no traceback."""

import gc
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
# ~ if cookiecutter.scope == "complete"
from importlib.util import find_spec
# ~ endif
from itertools import pairwise
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from pydantic import BaseModel

# ~ if cookiecutter.scope == "complete"
from ..errors import UsageError
# ~ endif
# ~ if cookiecutter.use_wandb
from ..run.environment import unset_empty_variables
# ~ endif
from ..run.failures import report_failure
from ..run.folder import Run
# ~ if cookiecutter.scope == "complete"
from ..run.processes import RUN_ID, agreed_run_id, new_run_id
# ~ else
from ..run.processes import RUN_ID, new_run_id
# ~ endif
from ..run.signals import Interrupted, interruptible
from .help import print_help
from .stored_settings import CONFIGS

HYDRA_OPTIONS = {
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--info",
    "--experimental-rerun",
}  # fmt: skip
# The environment variable with the path of a run's config.yaml, for the processes of a training run
# that Lightning starts with the same command line.
RUN_SETTINGS = "TRAIN_RUN_SETTINGS"

# Words with which Hydra also reads presets in other folders.
OTHER_CONFIGS = ("--config-", "-cd", "-cp", "hydra.searchpath=")

Work = Callable[[DictConfig], None]


def command(name: str, model: type[BaseModel]) -> Callable[[Work], Callable[[], None]]:
    """Decorate a function to be a command with the settings of ``configs/<name>.yaml``."""
    return lambda work: wraps(work)(partial(launch, name, model, work))


def launch(name: str, model: type[BaseModel], work: Work) -> None:
    """Compose the settings of a command and pass them to ``work``, once for each job of a multirun.

    A job of a multirun that fails leaves the reason in its run folder, and the next job starts. The
    environment variable ``TRAIN_RUN_ID`` holds the id of the run; ``model`` is for ``--help``.
    """
    typed = sys.argv[1:]
    failed: list[str] = []  # runs of a multirun

    def job(config: DictConfig) -> None:
        sys.argv[1:] = typed  # for the records of the run
        shared_id = os.environ[RUN_ID]
        multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        if multirun:
            os.environ[RUN_ID] = f"{shared_id}-{HydraConfig.get().job.num}"
        # The garbage collector would scan the many objects of imports and annotation files again
        # and again, a fifth of the start-up time; ``build_trainer`` enables it again.
        gc.disable()
        try:
            work(config)
        except (Exception, Interrupted) as error:  # noqa: BLE001 - raised again unless explained
            run = Run(Path(str(config.runs)) / os.environ[RUN_ID])
            report_failure(error, run, multirun=multirun)
            failed.append(run.id)
        finally:
            gc.enable()
            os.environ[RUN_ID] = shared_id

    if name == "train" and RUN_SETTINGS in os.environ:
        with interruptible():
            job(DictConfig({"runs": str(Path(os.environ[RUN_SETTINGS]).parents[1])}))
        return
    words = _prepare(name, model)
    if words is None:
        return
    sys.argv[1:] = words
    with interruptible():
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(job)()
    if failed:
        sys.exit(1)


@interruptible()
def _prepare(command: str, model: type[BaseModel]) -> list[str] | None:
    """Prepare the process; return the words for Hydra, or None if the help has been printed."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for paths that are not UTF-8
    for library in ("matplotlib", "timm"):  # they log each cache of fonts and each file of weights
        logging.getLogger(library).setLevel(logging.WARNING)
    # ~ if cookiecutter.use_wandb
    unset_empty_variables()
    if command != "train":
        os.environ.pop("WANDB_RUN_ID", None)  # otherwise, a training run is overwritten
    # ~ endif
    if RUN_ID not in os.environ:
        # ~ if cookiecutter.scope == "complete"
        try:
            os.environ[RUN_ID] = agreed_run_id(new_run_id())
        except UsageError as error:
            sys.exit(f"\n{error}\n")
        # ~ else
        os.environ[RUN_ID] = new_run_id()
        # ~ endif
    # ~ if cookiecutter.scope == "complete"
    if "hydra/launcher=slurm" in sys.argv and not find_spec("submitit"):
        sys.exit("\nhydra/launcher=slurm needs another package: uv sync --extra slurm\n")
    # ~ endif
    switches = [word for word in sys.argv[1:] if word in {"-m", "--multirun"}]
    others = [word for word in sys.argv[1:] if word not in switches]
    if not any(word.startswith(OTHER_CONFIGS) for word in others):
        _check_presets(others)
    words = [_hydra_word(word, multirun=bool(switches)) for word in others]
    if {"-h", "--help"} & {*words}:
        print_help(command, model, [word for word in words if not word.startswith("-")])
        return None
    _check_words(words)
    return [*switches, *words]  # Hydra wants the switches first


def _check_words(words: Sequence[str]) -> None:
    """End the command if a word is neither an option of Hydra nor an override."""
    for before, word in pairwise(["", *words]):
        if word.startswith("--") and word.split("=")[0] not in HYDRA_OPTIONS:
            sys.exit(f"\n{word} is no option: settings are written as <setting>=<value>.\n")
        of_option = before.startswith("-")  # such as --cfg job
        if "=" not in word and not word.startswith(("-", "~")) and not of_option:
            sys.exit(
                f"\n{word} has no =, but settings are written as <setting>=<value>, in "
                "quotes if they contain spaces. --help lists them.\n"
            )


def _check_presets(words: Sequence[str]) -> None:
    """End the command with a list of the presets of a group if a word names an unknown preset."""
    for word in words:
        group, sign, value = word.partition("=")
        if not (sign and group.isidentifier() and (CONFIGS / group).is_dir()) or "(" in value:
            continue  # such as glob(*), which chooses among the presets
        names = [name.strip(" '\"") for name in value.strip(" '\"[]").split(",")]
        for name in names:
            optional = name == "null" and len(names) > 1  # such as experiment=null,finetune
            if not optional and not (CONFIGS / group / f"{name}.yaml").is_file():
                presets = ", ".join(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))
                sys.exit(f"\n{group}={name}: there is no such preset. Choose from {presets}.\n")


def _hydra_word(word: str, *, multirun: bool) -> str:
    """Rewrite an override as ``++key=value``, so that ``check`` reports all mistakes together.

    Hydra stops at the first unknown key, but accepts it in ``++key=value``; ``check`` then suggests
    the nearest known one. A value that Hydra would refuse or change is quoted, so that
    ``source=photo (1).jpg`` and ``data.split_by=[a-z]+`` work.
    """
    match = re.fullmatch(r"([A-Za-z_][\w.]*)=(.*)", word, flags=re.DOTALL)
    if not match or word.startswith("hydra."):
        return word
    key, value = match.groups()
    if (CONFIGS / key).is_dir():
        return word
    if _is_changed(key, value, multirun=multirun):
        value = "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"
    return f"++{key}={value}"


def _is_changed(key: str, value: str, *, multirun: bool) -> bool:
    """Return whether Hydra refuses a value without quotes, or removes spaces or backslashes."""
    try:
        override = OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return True
    if override.is_sweep_override():  # such as a,b
        return not multirun
    parsed = override.value()
    return isinstance(parsed, str) and parsed != value and value[0] not in "'\""
