"""The sections of the settings, one frozen struct each: every setting with its default, and the reason for it."""
