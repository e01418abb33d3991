"""Adapters with one mistake each, and what is to be said of them."""
