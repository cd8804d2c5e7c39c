"""What schemathesis cannot know of the console; it imports this in its own process."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context: schemathesis.SerializationContext, value: object) -> bytes:
    """Text as it is."""
    return value if isinstance(value, bytes) else str(value).encode()
