"""The open test set: real photographs with labels, rendered faces and clips with truth, and what networks make of them."""
