"""From verdicts to causes: where a failure begins and which known mistake explains it."""
