"""How good the features of an encoder are: probes, fine-tuning, and measures without labels."""
