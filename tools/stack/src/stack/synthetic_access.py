"""The vendor and the viewer's token of the synthetic terminal: made once through the console, as an operator would."""

from stack.http_client import RequestFailed, get, post_json
from stack.kept_secrets import SyntheticAccess
from stack.process import StackError


def synthetic_access(console: str, admin_token: str, kept: SyntheticAccess | None) -> SyntheticAccess:
    """What an earlier run kept where the platform still knows it, else made anew. Raises StackError."""
    api = f"{console}/api/v1"
    try:
        if kept is not None and kept.access_id in get(f"{api}/vendors?limit=200", token=admin_token):
            return kept
        vendor = post_json(f"{api}/vendors", {"name": "synthetic", "synthetic": True}, token=admin_token)
        token = post_json(f"{api}/tokens", {"role": "viewer", "name": "synthetic terminal"}, token=admin_token)
    except RequestFailed as error:
        raise StackError(f"no vendor for the synthetic terminal: {error}") from error
    return SyntheticAccess(vendor["accessId"], vendor["accessKey"], vendor["accessSecret"], token["token"])
