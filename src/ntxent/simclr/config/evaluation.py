"""What is asked of the frozen features."""

from dataclasses import dataclass

from ntxent.simclr.config._checks import require

__all__ = ["EvaluationConfig"]


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation: probes on the frozen features, beside raw pixels and the untrained encoder"""

    labels_per_class: tuple[int, ...] | None = None
    """Labels per class of the small linear probes, by default those of 1, 5 and 10 that the
    smallest class has; a probe with all labels is always added."""
    label_shares: tuple[float, ...] = ()
    """Shares of the labels of further small probes, of each class at least one label."""
    draws: int = 10
    """Random draws of the labels for each small probe."""
    neighbors: int = 5
    """Neighbours that vote in kNN, by cosine similarity."""
    knn_every: int = 0
    """Epochs between two measurements of kNN accuracy during training; 0 for none."""

    def __post_init__(self) -> None:
        counts = self.labels_per_class
        positive = counts is None or all(count >= 1 for count in counts)
        require(positive, "evaluation.labels_per_class", counts, "integers >= 1")
        within = all(0 < share < 1 for share in self.label_shares)
        require(within, "evaluation.label_shares", self.label_shares, "shares between 0 and 1")
        spread = "an integer >= 2: a standard deviation needs two draws"
        require(self.draws >= 2, "evaluation.draws", self.draws, spread)
        require(self.neighbors >= 1, "evaluation.neighbors", self.neighbors, "an integer >= 1")
        require(self.knn_every >= 0, "evaluation.knn_every", self.knn_every, "an integer >= 0")
