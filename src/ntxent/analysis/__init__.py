"""The exact loss of two files of embeddings, what it proves, and what is measured of them."""

from ntxent.analysis.analyze import Analysis, Progress, analyze, exact_loss

__all__ = ["Analysis", "Progress", "analyze", "exact_loss"]
