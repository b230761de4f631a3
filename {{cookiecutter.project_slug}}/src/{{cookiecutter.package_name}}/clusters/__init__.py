"""Training on a cluster: save a checkpoint when preempted, and requeue the SLURM job."""
