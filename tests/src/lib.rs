//! Scenarios that boot real kernels under Darma in QEMU, and style checks.
