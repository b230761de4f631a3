"""Processes that torchrun or SLURM has started for one run, perhaps on several machines."""

import os
from collections.abc import Mapping
from datetime import timedelta

from ..errors import UsageError


def started_processes(environ: Mapping[str, str] = os.environ) -> int:
    """Return the number of processes that torchrun or srun has started; 1 without either."""
    if "TORCHELASTIC_RUN_ID" in environ:
        return int(environ["WORLD_SIZE"])
    return int(environ.get("SLURM_NTASKS", "1")) if "SLURM_STEP_ID" in environ else 1


def check_processes(devices: object, num_nodes: int) -> None:
    """Raise a UsageError if torchrun or srun has started another number of processes.

    It is not checked if ``devices`` is ``auto`` or a list.
    """
    if not isinstance(devices, int) or devices < 1:
        return
    started, expected = started_processes(), devices * num_nodes
    if started not in {1, expected}:
        raise UsageError(
            f"{started} processes were started, but the settings are for {expected}:\n"
            "  trainer=ddp trainer.devices=<processes on a node> trainer.num_nodes=<nodes>"
        )


def agreed_run_id(proposed: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the same run id in all processes that torchrun or srun has started.

    With torchrun, it is the id proposed by the first process; with srun, it consists of the ids of
    job and step. Without either, ``proposed`` is returned; processes that Lightning starts inherit
    the environment variable ``TRAIN_RUN_ID``.

    Raises:
        UsageError: if torchrun offers no store through which the processes can agree.
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
