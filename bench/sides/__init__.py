"""The programs that are measured: `python -m bench.sides.NAME '{"…": …}'` prints one line of JSON."""
