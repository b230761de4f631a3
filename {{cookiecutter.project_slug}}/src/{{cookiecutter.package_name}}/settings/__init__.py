"""Settings: what Hydra composes and pydantic checks."""
