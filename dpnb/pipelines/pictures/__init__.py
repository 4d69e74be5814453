"""Pictures that go into a run and come out of it."""
