"""Trainings on a cluster: they save before they are stopped, and SLURM starts them again."""
