"""Reports: one HTML file, without network, that explains a run, several runs or two views.

``write_report`` reads run folders or logs of other tools; ``write_analysis`` takes an analysis of
two files of embeddings; ``write_explorer`` writes a page in which N, τ, d and a loss can be varied.
"""

from ntxent.report.pages.analysis import write_analysis
from ntxent.report.pages.explorer import write_explorer
from ntxent.report.write import write_report

__all__ = ["write_analysis", "write_explorer", "write_report"]
