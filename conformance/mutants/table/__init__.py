"""The known mistakes, a module for each kind."""
