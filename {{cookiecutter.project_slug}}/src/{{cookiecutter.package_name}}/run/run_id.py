"""The id of a run, and the rank of this process among the processes of a run."""

import os
import secrets
from collections.abc import Mapping
from datetime import datetime

RUN_ID = "TRAIN_RUN_ID"  # the environment variable that holds the id of the run
# ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
VARIED = "TRAIN_VARIED"  # and the one with the settings that vary between the trials of a search
# ~ endif
# The environment variables in which launchers store the rank of a process.
# ~ if cookiecutter.scope == "complete"
RANKS = ("RANK", "SLURM_PROCID", "GROUP_RANK", "NODE_RANK", "LOCAL_RANK")


# ~ else
RANKS = ("RANK", "NODE_RANK", "LOCAL_RANK")


# ~ endif
def new_run_id() -> str:
    """Return a unique run id that begins with the date and the time, so that ids sort by time."""
    # ~ if cookiecutter.use_wandb
    if os.environ.get("WANDB_RUN_ID"):
        return os.environ["WANDB_RUN_ID"]  # set by the agent of a sweep
    # ~ endif
    # Local time, because users look for their runs by it.
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


# ~ if cookiecutter.use_wandb
def unset_empty_variables() -> None:
    """Remove empty variables ``WANDB_...``: some tools pass variables that are not set as such."""
    for name in [name for name, value in os.environ.items() if not value]:
        if name.startswith("WANDB_"):
            del os.environ[name]


# ~ endif
def is_first(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process has rank 0; only that process writes files and prints."""
    return all(environ.get(name, "0") == "0" for name in RANKS)
