"""The figures that the README quotes, measured: `python -m bench [names] [--quick]`.

One module per figure measures and judges; `bench.sides` holds the programs that are measured,
each of which runs as a process of its own in a fresh folder.
"""
