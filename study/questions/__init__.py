"""One file a question: ``answer(rows)`` gives the numbers of the text, ``draw(rows)`` the figure."""
