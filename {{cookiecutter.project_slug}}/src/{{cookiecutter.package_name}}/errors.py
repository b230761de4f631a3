"""Errors that a user can cause: they are printed without a traceback."""


class UsageError(Exception):
    """A mistake of the user; the message names the setting or file, the reason and the fix."""


class NotFiniteError(UsageError):
    """The loss is infinite or not a number: the training has diverged."""
