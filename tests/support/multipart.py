"""Forms as HTTP clients send them."""

BOUNDARY = "----boundary-of-the-test"
MULTIPART = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def field(name: str, value: str) -> bytes:
    """One part that is text."""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(name: str, data: bytes, file_name: str = "package.bin") -> bytes:
    """One part that is a file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
    return head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    """The body."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
