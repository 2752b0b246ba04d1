import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client


@pytest.fixture
def client(db):
    """Signed in, with every permission."""
    signed_in = Client()
    signed_in.force_login(User.objects.create_superuser("ada"))
    return signed_in


@pytest_asyncio.fixture
async def no_connection_stays():
    """Queries of a loop run in a thread of their own, whose connection would outlive the test."""
    yield
    await sync_to_async(connections.close_all)()
