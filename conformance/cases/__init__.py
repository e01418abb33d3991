"""What is asked: cases and their ids, the plan of a run, regimes, and the numbers of each draw."""
