"""From the files of a run to one page that explains it.

``write_report`` reads run folders, or logs of other tools, and writes one HTML file that needs
neither network nor server; ``write_explorer`` writes the page to try values of N, τ and the loss
in; ``write_analysis`` the page of two files of embeddings.
"""

from ntxent.report.write import write_analysis, write_explorer, write_report

__all__ = ["write_analysis", "write_explorer", "write_report"]
