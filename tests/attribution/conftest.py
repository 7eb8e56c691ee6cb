from hypothesis import settings

# A busy machine is slow, not wrong: no property is judged by its time.
settings.register_profile("byline", deadline=None, max_examples=40)
settings.load_profile("byline")
