"""Modules: operations, cells, supernets, networks, and whole networks; kernels/ makes them fast."""
