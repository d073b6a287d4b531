"""The hot loops, compiled by numba: arrays in, arrays out; no ids, no files."""
