"""The folder of a run: configuration, record and files; written by training, read by all."""
