"""The format of saved models: arrays and a manifest in a folder."""
