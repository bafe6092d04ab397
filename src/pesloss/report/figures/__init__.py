"""Figures, one file each, found by file name; each names its tables in ``SOURCES``.

``table(sources)`` returns the numbers drawn, ``draw(table)`` a figure of those numbers alone.
``TITLE`` heads it; ``CAPTION`` says what to see in it, wherever it is shown.
"""
