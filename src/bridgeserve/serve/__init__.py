"""Processes, signals and lifetimes."""
