"""How architectures are found: oneshot/ trains a supernet, blackbox/ scores whole networks."""
