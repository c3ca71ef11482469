"""The side-by-side benchmark: starts each server, loads it, writes one table."""
