"""Names the modules that hold the fixtures."""

pytest_plugins = ["tests.fixtures.parts", "tests.fixtures.stack", "tests.fixtures.otlp"]
