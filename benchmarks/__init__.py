"""Speed against peers and against our own goals; see README.md beside this."""
