"""The weights of one model: files, tensors, names, and networks that are made for them."""
