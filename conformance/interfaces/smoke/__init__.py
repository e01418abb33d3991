"""`kterm smoke`: what is wrong in an adapter, in seconds, before the framework is judged."""
