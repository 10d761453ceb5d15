"""A machine that boots a node's image, under emulation: its root disk, QEMU, and what there is around it."""
