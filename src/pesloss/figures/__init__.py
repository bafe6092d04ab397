"""Figures, one file each, found by file name; each names its tables in ``SOURCES``.

``table(sources)`` returns the numbers drawn, ``draw(table)`` a figure of those numbers alone.
The first line of a file's docstring is the figure's caption.
"""
