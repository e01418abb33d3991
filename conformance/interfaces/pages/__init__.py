"""Pages of HTML to look at: of a run, of a judged trace, and of a comparison. Each is one file that needs no other."""
