"""What makes a tracked training a matter of seconds."""

from small import SMALL

TRACKED = (*(word for word in SMALL if not word.startswith("tracking")), "tracking=wandb")
KEY = "planted0" * 5  # of an account that does not exist
