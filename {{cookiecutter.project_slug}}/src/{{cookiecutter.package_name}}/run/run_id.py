"""The id of a run."""

# ~ if cookiecutter.use_wandb
import os
# ~ endif
import secrets
from datetime import datetime

# ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
VARIED = "TRAIN_VARIED"  # the environment variable with the settings that vary in a search
# ~ endif
RUN_ID = "TRAIN_RUN_ID"  # the environment variable that holds the id of the run


def new_run_id() -> str:
    """Return a unique run id that begins with the date and the time, so that ids sort by time."""
    # ~ if cookiecutter.use_wandb
    if os.environ.get("WANDB_RUN_ID"):
        return os.environ["WANDB_RUN_ID"]  # set by the agent of a sweep
    # ~ endif
    # Local time, because users look for their runs by it.
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"
