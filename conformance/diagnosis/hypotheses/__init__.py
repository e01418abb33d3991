"""The known mistakes that failing answers are compared with."""
