"""The folder of a run: its configuration, its record, its files; written by training, read by all."""
