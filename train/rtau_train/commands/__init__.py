"""The commands of `rtau` that make data and networks, one module for each."""
