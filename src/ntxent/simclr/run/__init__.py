"""The folder of a run: its files, its lock, its configuration, its trained model."""
