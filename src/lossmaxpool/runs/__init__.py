"""The folder of a run: configuration, record, files. Training writes it, all others read it."""
