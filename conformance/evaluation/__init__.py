"""The suite itself, measured."""
