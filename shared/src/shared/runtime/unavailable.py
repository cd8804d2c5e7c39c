"""The fault that is ours: a server that we depend on did not answer."""


class Unavailable(Exception):
    """A server behind us did not answer within its deadline, or refused for a reason that may pass.

    It becomes 500_01 or a retry: never 401_01 (design rule 3), never a dead letter. The text names the server and
    the kind of fault, and no value.
    """
