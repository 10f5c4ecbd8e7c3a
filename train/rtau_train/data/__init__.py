"""Readers of pictures, labels and points for training."""
