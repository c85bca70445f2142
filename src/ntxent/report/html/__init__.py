"""One HTML file from a template: its style, its colours, its formulas and its images."""
