"""`python -m dpnb`: the command line."""

from dpnb.cli import main

main()
