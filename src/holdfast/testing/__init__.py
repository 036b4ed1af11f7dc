"""For tests of Holdfast and of what is built on it: a manual clock, fakes, conformance suites."""
