"""What the commands about runs show: how much, on the terminal, and in other forms."""
