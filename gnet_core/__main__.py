"""`python -m gnet_core` is `gnet`."""

from gnet_core.cli import main

main()
