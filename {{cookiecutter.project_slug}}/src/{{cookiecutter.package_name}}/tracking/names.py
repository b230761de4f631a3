"""The name under which W&B shows a run."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ..run.folder import Run
# ~ if cookiecutter.scope == "complete"
from ..run.run_id import VARIED
# ~ endif
from ..settings.check import flattened
from ..settings.schema import Settings, model_name

SWEEP = "WANDB_SWEEP_ID"  # the variable that the agent of a sweep sets


def run_name(settings: Settings, run: Run, job: str, words: Sequence[str]) -> str:
    """Return task, model, data, the values that vary in a sweep, and the end of the run id.

    Args:
        settings: the settings of the command.
        run: the run of the command.
        job: the command, which the name begins with unless it is ``train``.
        words: the command-line overrides. In a multirun, those with several values vary; all that
            the agent of a sweep has given vary.
    """
    tree: dict[str, Any] = flattened(settings.model_dump(mode="json", exclude={"tracking"}))
    varied = [(key.rsplit(".", 1)[-1], tree[key]) for key in varied_keys(words) if key in tree]
    texts = [
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in varied
    ]
    task = "{{ cookiecutter.task }}"
    parts = [task, model_name(settings.model.model_dump()), settings.data.name, *texts]
    return " ".join([*([] if job == "train" else [job]), *parts, run.id.rsplit("_", 1)[-1]])


def varied_keys(words: Sequence[str]) -> list[str]:
    """Return the keys of the overrides whose values differ between the runs of a sweep."""
    # ~ if cookiecutter.scope == "complete"
    if VARIED in os.environ:
        return os.environ[VARIED].split(",")
    # ~ endif
    parser, keys = OverridesParser.create(), []
    for word in words:
        with suppress(HydraException):  # a word such as --multirun is not an override
            override = parser.parse_override(word)
            if override.is_sweep_override() or SWEEP in os.environ:
                keys.append(override.key_or_group)
    return keys
