"""The settings of the commands: Hydra composes them, and pydantic checks them."""
