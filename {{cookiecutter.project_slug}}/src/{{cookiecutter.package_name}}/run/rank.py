"""The rank of this process among the processes of a run."""

import os
from collections.abc import Mapping

# The environment variables in which launchers store the rank of a process.
# ~ if cookiecutter.scope == "complete"
RANKS = ("RANK", "SLURM_PROCID", "GROUP_RANK", "NODE_RANK", "LOCAL_RANK")


# ~ else
RANKS = ("RANK", "NODE_RANK", "LOCAL_RANK")


# ~ endif
def is_first(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process has rank 0; only that process writes files and prints."""
    return all(environ.get(name, "0") == "0" for name in RANKS)
