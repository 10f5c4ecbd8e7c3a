"""From a run's best checkpoint to files that rtau and others run, each held against the checkpoint."""
