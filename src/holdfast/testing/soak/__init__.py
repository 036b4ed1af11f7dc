"""Soak: a shop with a fleet behind it, customers, kills all the while, and an audit of its books."""
