"""How an adapter is asked: in this process, or in a host process that may die without harm."""
