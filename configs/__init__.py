"""What can be run: one file per base, and one per table or figure."""
