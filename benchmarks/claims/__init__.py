"""What the documentation claims, a command each: ``python -m benchmarks.claims.NAME``."""
