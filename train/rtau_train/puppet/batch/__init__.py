"""The renderer in torch, for a GPU: many pictures at once."""
