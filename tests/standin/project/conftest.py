"""Tests of tracking against a stand-in server.

The template's tests copy them, with the server, into the folder ``tests/tracking`` of a generated
project (see ``test_tracking_works_with_a_server``), whose fixtures and helpers they use.
"""

import pytest
from server import Server
from tracked import KEY, teardown


@pytest.fixture
def server(monkeypatch):
    """The server, and an account on it; the test fails if a request was not known to the server."""
    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server
        server.fault = None  # a test may leave a fault, but the client has to finish
        teardown()
    assert server.unknown == []
