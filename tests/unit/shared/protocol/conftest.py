"""One example of a property test has no deadline: the machine may be busy, and pytest-timeout bounds every test."""

from hypothesis import settings

settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")
