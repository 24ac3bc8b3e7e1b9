"""Listeners for finished records: access log and logging set-up."""
