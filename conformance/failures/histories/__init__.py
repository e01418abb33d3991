"""The calls that a failure needs: recorded, and made again in a new process."""
