"""Pages whose words are their own, and whose tables are made anew from rows."""


def fill(text: str, tables: dict[str, list[str]]) -> str:
    """Replace what stands between ``<!-- table: NAME -->`` and ``<!-- end: NAME -->``.

    >>> fill("a <!-- table: t -->old<!-- end: t --> b", {"t": ["1", "2"]})
    'a <!-- table: t -->\\n1\\n2\\n<!-- end: t --> b'
    """
    for name, lines in tables.items():
        start, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
        before, found, rest = text.partition(start)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"page: received no {start} ... {end}, expected a place for {name}")
        text = "\n".join([before + start, *lines, end]) + after
    return text
