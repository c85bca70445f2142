"""What one loss value means: a verdict, what it certifies, what to do next.

>>> report = diagnose(5.0, batch_size=512, temperature=0.5)
>>> report.verdict, round(report.position, 3), round(report.similarity_interval[0], 3)
('at_floor', 0.034, 0.966)

A value that the stated convention cannot give is looked for in the others:

>>> report = diagnose(11.0, batch_size=512, temperature=0.5)
>>> report.verdict, report.alternatives[0].convention
('impossible', 'sum of both directions (simclr_tf)')
"""

from .conventions import Alternative
from .report import Diagnosis, diagnose
from .verdict import Verdict, tolerance

__all__ = ["Alternative", "Diagnosis", "Verdict", "diagnose", "tolerance"]
