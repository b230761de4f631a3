"""What a user can cause, told without a traceback."""


class UsageError(Exception):
    """A mistake outside the code: the message names the thing, the reason and the fix."""


class NotFiniteError(UsageError):
    """The loss is infinite or no number: whatever is learned from here on is of no use."""
