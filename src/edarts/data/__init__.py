"""Any labelled images in one argument -> uint8 tensors, split without leaks."""
