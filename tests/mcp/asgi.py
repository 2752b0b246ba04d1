"""The site with a token put into requests that have none: the conformance suite cannot send one of its own."""

import os

from jobsite.asgi import application as site

TOKEN = os.environ["CONFORMANCE_TOKEN"].encode()


async def application(scope, receive, send):
    if scope["type"] == "http" and all(name != b"authorization" for name, _ in scope["headers"]):
        scope = scope | {"headers": [*scope["headers"], (b"authorization", b"Bearer " + TOKEN)]}
    await site(scope, receive, send)
