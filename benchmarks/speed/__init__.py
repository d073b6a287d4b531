"""Time and memory: of kernels, fits, the store, the service."""
