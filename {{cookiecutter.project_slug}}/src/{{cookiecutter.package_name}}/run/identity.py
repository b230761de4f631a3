"""What the processes of one job agree on before they train: the run's id, and who is first."""

import os
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from ..errors import UsageError

RANKS = ("RANK", "SLURM_PROCID", "GROUP_RANK", "NODE_RANK", "LOCAL_RANK")


def new_run_id() -> str:
    """A name that sorts by time and that no other run has."""
    # ~ if cookiecutter.use_wandb
    if os.environ.get("WANDB_RUN_ID"):
        return os.environ["WANDB_RUN_ID"]  # a sweep's agent names its runs itself
    # ~ endif
    # Local time: what people look for.
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


def is_first(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks and writes for all: rank 0, whoever started it."""
    return all(environ.get(name, "0") == "0" for name in RANKS)


def started_processes(environ: Mapping[str, str] = os.environ) -> int:
    """How many processes torchrun or srun has started; 1 if this one was started by itself."""
    if "TORCHELASTIC_RUN_ID" in environ:
        return int(environ["WORLD_SIZE"])
    return int(environ.get("SLURM_NTASKS", "1")) if "SLURM_STEP_ID" in environ else 1


def agreed_run_id(proposed: str, environ: Mapping[str, str] = os.environ) -> str:
    """One id for all processes that torchrun or srun has started; else the proposed one.

    Lightning's own further processes need no agreement: they inherit the id.

    Raises:
        UsageError: if the processes have no means to agree.
    """
    if started_processes(environ) == 1:
        return proposed
    if "TORCHELASTIC_RUN_ID" in environ:
        if environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            raise UsageError("This torchrun has no store: set TRAIN_RUN_ID to a name for the run.")
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        address, port = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
        store = TCPStore(address, port, timeout=timedelta(minutes=1))
        # Who comes first sets it, all others read it.
        return bytes(store.compare_set("run_id", "", proposed)).decode()
    return f"slurm-{environ['SLURM_JOB_ID']}.{environ['SLURM_STEP_ID']}"
