"""The processes of a run, perhaps on several machines, and the run id that they share."""

import os
import secrets
from collections.abc import Mapping
# ~ if cookiecutter.scope == "complete"
from datetime import datetime, timedelta

from ..errors import UsageError

# ~ else
from datetime import datetime

# ~ endif
RUN_ID = "TRAIN_RUN_ID"  # the environment variable that holds the id of the run
# ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
VARIED = "TRAIN_VARIED"  # the environment variable with the settings that vary in a search
# ~ endif
# The environment variables in which launchers store the rank of a process.
# ~ if cookiecutter.scope == "complete"
RANKS = ("RANK", "SLURM_PROCID", "GROUP_RANK", "NODE_RANK", "LOCAL_RANK")


# ~ else
RANKS = ("RANK", "NODE_RANK", "LOCAL_RANK")


# ~ endif
def is_first(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process has rank 0; only that process writes files and prints."""
    return all(environ.get(name, "0") == "0" for name in RANKS)


# ~ if cookiecutter.scope == "complete"
def agreed_run_id(proposed: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the same run id in all processes that torchrun or srun has started.

    With torchrun, it is the id proposed by the first process; with srun, it consists of the ids of
    job and step. Processes that Lightning starts inherit it in the environment.
    """
    if started_processes(environ) == 1:
        return proposed
    if "TORCHELASTIC_RUN_ID" in environ:
        if environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            raise UsageError(
                "torchrun gives its processes no store, so they cannot agree on a run id.\n"
                "Set TRAIN_RUN_ID to a name for the run."
            )
        from torch.distributed import TCPStore  # type: ignore[attr-defined] # noqa: PLC0415

        address, port = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
        store = TCPStore(address, port, timeout=timedelta(minutes=1))
        # The first process sets the value, and all others read it.
        return bytes(store.compare_set("run_id", "", proposed)).decode()
    return f"slurm-{environ['SLURM_JOB_ID']}.{environ['SLURM_STEP_ID']}"


def started_processes(environ: Mapping[str, str] = os.environ) -> int:
    """Return the number of processes that torchrun or srun has started; 1 without either."""
    if "TORCHELASTIC_RUN_ID" in environ:
        return int(environ["WORLD_SIZE"])
    return int(environ.get("SLURM_NTASKS", "1")) if "SLURM_STEP_ID" in environ else 1


def check_processes(devices: object, num_nodes: int) -> None:
    """Raise a UsageError if torchrun or srun has started another number of processes.

    Nothing is checked if ``devices`` is ``auto`` or a list.
    """
    if not isinstance(devices, int) or devices < 1:
        return
    started, expected = started_processes(), devices * num_nodes
    if started not in {1, expected}:
        raise UsageError(
            f"{started} processes were started, but the settings are for {expected}:\n"
            "  trainer=ddp trainer.devices=<processes on a node> trainer.num_nodes=<nodes>"
        )


# ~ endif
def new_run_id() -> str:
    """Return a unique run id that begins with the date and the time, so that ids sort by time."""
    # ~ if cookiecutter.use_wandb
    if os.environ.get("WANDB_RUN_ID"):
        return os.environ["WANDB_RUN_ID"]  # set by the agent of a sweep
    # ~ endif
    # Local time, because users look for their runs by it.
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"
