"""What is asked of the frozen features."""

from dataclasses import dataclass

from ntxent.simclr.config._checks import require

__all__ = ["EvaluationConfig"]


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation: probes on the frozen features, beside raw pixels and the untrained encoder"""

    labels_per_class: tuple[int, ...] = (1, 5, 10)
    """Labels per class of the small linear probes; one with all labels is always added."""
    draws: int = 10
    """Random draws of the labels for each small probe."""
    neighbors: int = 5
    """Neighbours that vote in kNN, by cosine similarity."""

    def __post_init__(self) -> None:
        counts = self.labels_per_class
        positive = all(count >= 1 for count in counts)
        require(positive, "evaluation.labels_per_class", counts, "integers >= 1")
        spread = "an integer >= 2: a standard deviation needs two draws"
        require(self.draws >= 2, "evaluation.draws", self.draws, spread)
        require(self.neighbors >= 1, "evaluation.neighbors", self.neighbors, "an integer >= 1")
