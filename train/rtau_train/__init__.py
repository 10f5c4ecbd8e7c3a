"""Training code of rtau: data, losses, loops, evaluation and export."""
