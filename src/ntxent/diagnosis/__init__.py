"""What one loss value means: a verdict, what it certifies, what to do next.

>>> found = diagnose(5.0, batch_size=512, temperature=0.5)
>>> found.verdict, round(found.position, 3), round(found.similarity_interval[0], 3)
('at_floor', 0.034, 0.966)

A value that the stated convention cannot give is looked for in the others:

>>> found = diagnose(11.0, batch_size=512, temperature=0.5)
>>> found.verdict, found.alternatives[0].convention
('impossible', 'sum of both directions (simclr_tf)')
"""

from .limits import LimitsTable, limits_table
from .result import Alternative, Diagnosis
from .trajectory import Series, Trajectory, judge
from .value import diagnose
from .verdict import Verdict, tolerance

__all__ = [
    "Alternative",
    "Diagnosis",
    "LimitsTable",
    "Series",
    "Trajectory",
    "Verdict",
    "diagnose",
    "judge",
    "limits_table",
    "tolerance",
]
