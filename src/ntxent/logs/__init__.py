"""The losses of a run and its settings, from the files that training tools leave.

``read_log`` takes a CSV or TSV with a header, JSON lines, a TensorBoard event file, or a folder
that holds one of these. Rows that cannot be read are reported and left out.
"""

from ntxent.logs.judged import JudgedLog, judge_log
from ntxent.logs.reading import Log, NoLog, read_log
from ntxent.logs.settings import Settings, find_settings

__all__ = ["JudgedLog", "Log", "NoLog", "Settings", "find_settings", "judge_log", "read_log"]
