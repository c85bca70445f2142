"""The figures of the pages, as Plotly's JSON."""
