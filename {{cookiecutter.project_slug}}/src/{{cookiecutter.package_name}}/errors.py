"""What a user can cause, told without a traceback."""


class UsageError(Exception):
    """A mistake outside the code: the message names the thing, the reason and the fix."""
