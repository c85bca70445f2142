"""From the rows to docs/study.md: statistics, figures, text; and how far rows repeat."""
