"""The commands of ``ntxent``, a module each; :mod:`ntxent.cli` has the table and their contract."""
