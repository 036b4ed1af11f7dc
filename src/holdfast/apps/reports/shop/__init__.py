"""The shop over HTTP: checkout, orders and their files for programs, and pages for customers."""
