"""One file a question: ``answer(rows)`` gives the text's numbers, ``draw(rows)`` its figure."""
