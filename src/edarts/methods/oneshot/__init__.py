"""One-shot methods, one file each, and the driver that trains their supernets."""
