"""A trial's settings and tables, read and checked."""
