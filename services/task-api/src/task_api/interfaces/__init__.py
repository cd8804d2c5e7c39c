"""One T_ interface a file, each with one function `handle`; the table of all of them is table.py."""
