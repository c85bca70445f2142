"""Measures of an encoder: probes on its features, fine-tuning, and measures without labels."""
