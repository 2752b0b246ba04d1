"""`python -m jobsite_client` is the command `jobsite`."""

from jobsite_client.cli import main

main()
