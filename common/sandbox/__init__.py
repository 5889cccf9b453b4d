"""Programs that nobody has read, run where they can do no harm; README.md says what that covers."""
