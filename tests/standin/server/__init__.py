"""A stand-in for the Weights & Biases service, for tests: it shows what the client sends.

It answers the parts of the HTTP interface that this project's code reaches through the real
``wandb`` client, and remembers everything it was sent. It does not show that Weights & Biases
would accept the same: there are no permissions, quotas, rate limits, size limits or retention
here, every entity exists, and every key is right. An operation it does not know gets a clear
error and goes to ``server.unknown``, so a test that ends with ``assert server.unknown == []``
fails when a new release of the client asks for something new.

Where it is simpler than the real service: runs are kept by their id alone, a run whose process
was killed stays "running", an id that is used again without ``resume`` goes on in the same
history, and bayes searches at random.
"""

from .model import ENTITY, ORGANIZATION, Alert, Artifact, Link, Run, Sweep, View
from .server import FAULTS, Server

__all__ = [
    "ENTITY",
    "FAULTS",
    "ORGANIZATION",
    "Alert",
    "Artifact",
    "Link",
    "Run",
    "Server",
    "Sweep",
    "View",
]
