"""Training the finder of faces: composites of openly licensed parts, targets, loss."""
