"""Real servers for tests, chaos and benchmarks: each on a port and in a folder of its own."""
