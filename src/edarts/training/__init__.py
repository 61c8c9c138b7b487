"""Training a network or supernet: the resumable loop, optimizers, devices, recipes."""
