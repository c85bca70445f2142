"""What a whole run says: another name of ``ntxent.diagnosis``'s part for runs."""

from ntxent.diagnosis.trajectory import Series, Stretch, Trajectory, judge

__all__ = ["Series", "Stretch", "Trajectory", "judge"]
