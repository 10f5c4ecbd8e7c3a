"""The commands of `rtau` that read faces, one module for each. Nothing heavy is imported before it is needed."""
