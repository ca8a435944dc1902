"""Settings of the whole suite."""

from hypothesis import settings

# How long an example takes is the machine's matter, also where no CI is recognised.
settings.register_profile("calm", parent=settings.default, deadline=None)
settings.load_profile("calm")
